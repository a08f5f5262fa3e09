/// The forge's token as an agent gets it under `credentials.expose: Token`: by the names that `gh` and images made for Kelos read it,
/// and in a way that git finds it.
enum ForgeToken {
    /// - Parameter environment: what the agent gets besides; `GH_HOST` in it names a forge other than github.com.
    static func variables(_ token: String, in environment: [String: String]) -> [String: String] {
        let host = environment["GH_HOST"] ?? "github.com"
        var variables = ["GITHUB_TOKEN": token, host == "github.com" ? "GH_TOKEN" : "GH_ENTERPRISE_TOKEN": token]
        // For this host only, and in the place of the helpers that git is otherwise told to ask.
        let helper = #"!f() { test "$1" = get && echo username=x-access-token && echo "password=$GITHUB_TOKEN"; }; f"#
        let first = environment["GIT_CONFIG_COUNT"].flatMap { Int($0) } ?? 0
        for (index, value) in zip(first..., ["", helper]) {
            variables["GIT_CONFIG_KEY_\(index)"] = "credential.https://\(host).helper"
            variables["GIT_CONFIG_VALUE_\(index)"] = value
        }
        variables["GIT_CONFIG_COUNT"] = "\(first + 2)"
        return variables
    }
}

/// Which of the values that an agent is given are secret.
public enum Secrets {
    /// The secret values of an environment: those whose variables' names say so, and passwords in URLs.
    public static func values(ofEnvironment variables: [String: String]) -> [String] {
        variables.flatMap { name, value in
            saysSecret(name) ? [value] : password(inURL: value).map { [$0] } ?? []
        }
    }

    /// The secret values in an agent's description, credentials' files aside.
    public static func values(of agent: AgentDescription) -> [String] {
        var values = values(ofEnvironment: agent.env ?? [:])
        for server in (agent.mcpServers ?? [:]).values {
            for value in (server.env ?? [:]).values where !value.hasPrefix("/") {
                values.append(value.contains("://") ? password(inURL: value) ?? "" : value)
            }
            for value in (server.headers ?? [:]).values {
                // What comes after the scheme (`Bearer …`) is the secret, with or without it.
                values.append(value)
                if let space = value.firstIndex(of: " ") { values.append(String(value[value.index(after: space)...])) }
            }
            if let password = server.url.flatMap(password) { values.append(password) }
        }
        return values
    }

    /// `GH_TOKEN`, `API_KEY`, `apiKey`, `DB_PASSWORD`: a name that says that its value is a secret.
    static func saysSecret(_ name: String) -> Bool {
        let name = name.uppercased()
        return ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "APIKEY", "_KEY", "_PAT", "_CREDENTIALS"].contains {
            name.hasSuffix($0)
        } || name == "KEY"
    }

    /// The password in `scheme://user:password@host/`, and what stands for one in `https://token@host/`.
    public static func password(inURL url: String) -> String? {
        guard let mark = url.firstRange(of: "://") else { return nil }
        let authority = url[mark.upperBound...].prefix { !"/?#".contains($0) }
        guard let at = authority.lastIndex(of: "@") else { return nil }
        let parts = authority[..<at].split(separator: ":", maxSplits: 1)
        // A name alone is a name (`ssh://git@host`); with http it is a token.
        return (parts.count == 2 ? parts[1] : url.hasPrefix("http") ? parts.first : nil).map(String.init)
    }
}

import ArgumentParser
import SessionModel

/// Not named `Set`: that is the standard library's.
struct SetLifetime: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Change the lifetime of a session.",
        discussion: "It holds at once: a living session need not be started again.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var options: LifetimeOptions

    @Option(help: ArgumentHelp("A field that is to have its default again, such as maxTokens.", valueName: "field"))
    var unset: [String] = []

    @Argument(help: "A session: its key, its name, or the beginning of its name.")
    var session: String

    func run() async throws {
        let context = Context.current
        let lifetime = options.lifetime
        guard lifetime != Lifetime() || !unset.isEmpty else {
            throw Failure(
                .usage, "nothing is to be changed: give an option such as --idle-timeout 2h; holdfast set --help has all")
        }
        if let mistake = lifetime.mistake { throw Failure(.usage, mistake) }
        var patch = try JSON.decode([String: JSONValue].self, from: JSON.encode(lifetime))
        for field in unset { patch[field] = .null }
        let id = try ScopeArgument.sessionID(session, directory: context.directory)
        try await API(server).send(
            "PATCH", "/v1/sessions/\(API.segment(id))/lifetime", body: Array(try JSON.encode(patch)))
        context.console.print("the lifetime of \(session) is changed: \(patch.keys.sorted().joined(separator: ", "))\n")
    }
}

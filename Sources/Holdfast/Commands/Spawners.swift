import ArgumentParser
import FoundationEssentials
import Rendering
import SessionModel
import Yams

struct Apply: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make the Spawners that a file describes, or change them.",
        discussion: "The documents are those that Kubernetes takes: kind Spawner, metadata.name and spec. docs/github.md has one."
    )

    @OptionGroup var server: ServerOptions

    @Option(name: [.short, .long], help: ArgumentHelp("A .yaml or .json file; - reads standard input.", valueName: "file"))
    var file: String

    /// What a file says of a resource.
    struct Document: Decodable {
        struct Name: Decodable { var name: String }
        var kind: String
        var metadata: Name
        var spec: SpawnerSpec
    }

    func run() async throws {
        let context = Context.current
        let documents = try Self.documents(try text(context))
        guard !documents.isEmpty else { throw Failure(.usage, "--file \(file) describes nothing") }
        // All are looked at before the first is sent.
        for document in documents {
            guard document.kind == "Spawner" else {
                throw Failure(
                    .usage,
                    "--file \(file) has a \(document.kind), and only Spawners are applied; Tasks are made with holdfast run")
            }
            if let mistake = document.spec.mistake { throw Failure(.usage, "Spawner \(document.metadata.name): \(mistake)") }
        }
        let api = API(server)
        for document in documents {
            let name = document.metadata.name
            try await api.send("PUT", "/v1/spawners/\(API.segment(name))", body: Array(try JSON.encode(document.spec)))
            context.console.print("Spawner \(name) is applied\n")
        }
    }

    private func text(_ context: Context) throws(Failure) -> String {
        if file == "-" { return String(decoding: context.readInput(), as: UTF8.self) }
        let path = file.hasPrefix("/") ? file : "\(context.directory)/\(file)"
        guard let data = try? Data(contentsOf: URL(filePath: path)) else {
            throw Failure(.usage, "--file \(file): the file cannot be read")
        }
        return String(decoding: data, as: UTF8.self)
    }

    /// YAML, of which JSON is a part: one document or several with `---` between them.
    static func documents(_ text: String) throws(Failure) -> [Document] {
        do {
            return try text.split(separator: "\n---").map(String.init).filter { $0.contains { !$0.isWhitespace && $0 != "-" } }
                .map { try YAMLDecoder().decode(Document.self, from: $0) }
        } catch {
            throw Failure(.usage, "a document cannot be read: \((error as? DecodingError)?.clause ?? "\(error)")")
        }
    }
}

struct Spawners: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List Spawners, show one, or delete one.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var format: OutputOptions

    @Flag(help: "Delete it. Its sessions go on.")
    var delete = false

    @Argument(help: "Only this Spawner.")
    var name: String?

    func run() async throws {
        let context = Context.current
        let api = API(server)
        guard let name else {
            if delete { throw Failure(.usage, "--delete needs the name of a Spawner") }
            let list: API.List<SpawnerResource> = try await api.get("/v1/spawners")
            if list.items.isEmpty, format.output == .table {
                return context.console.note("there are no Spawners yet: holdfast apply --file FILE makes one")
            }
            return try context.console.print(list.items, as: format.output) { .spawners($0, at: .now) }
        }
        let path = "/v1/spawners/\(API.segment(name))"
        if delete {
            try await api.send("DELETE", path)
            return context.console.print("Spawner \(name) is deleted; its sessions go on\n")
        }
        let spawner: SpawnerResource = try await api.get(path)
        try context.console.print([spawner], as: format.output) { .spawners($0, at: .now) }
    }
}

extension Table {
    static func spawners(_ spawners: [SpawnerResource], at now: Timestamp) -> Table {
        var table = Table(["NAME", "REPOSITORY", "EVENTS", "TASKS", "SESSIONS", "LAST"])
        for spawner in spawners {
            let webhook = spawner.spec.when.githubWebhook
            table.add([
                spawner.metadata.name, webhook?.repository ?? "",
                spawner.spec.suspend == true ? "suspended" : webhook?.events.joined(separator: ",") ?? "",
                "\(spawner.status.tasks ?? 0)", "\(spawner.status.sessions?.count ?? 0)",
                spawner.status.lastEventTime.map { Wording.age(of: $0, at: now) } ?? "never",
            ])
        }
        return table
    }
}

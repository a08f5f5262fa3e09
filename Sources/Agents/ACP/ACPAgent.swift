import SessionModel

/// What an agent said of itself when it was initialized.
struct ACPAgent: Sendable, Hashable {
    static let protocolVersion: Int64 = 1

    var name: String?
    var version: String?
    var canLoad: Bool
    var canResume: Bool
    var canList: Bool
    var canUseHTTPServers: Bool
    /// How a user can log in, as text.
    var authentication: [String]

    /// - Throws: ``Unsupported`` for another version of the protocol.
    init(initialized result: JSONValue) throws(Unsupported) {
        guard let version = result["protocolVersion"]?.integer, version == Self.protocolVersion else {
            throw Unsupported(version: result["protocolVersion"] ?? .null)
        }
        let info = result["agentInfo"]
        name = info?["title"]?.string ?? info?["name"]?.string
        self.version = info?["version"]?.string
        let capabilities = result["agentCapabilities"]
        canLoad = capabilities?["loadSession"]?.bool ?? false
        canResume = capabilities?["sessionCapabilities"]?["resume"]?.object != nil
        canList = capabilities?["sessionCapabilities"]?["list"]?.object != nil
        canUseHTTPServers = capabilities?["mcpCapabilities"]?["http"]?.bool ?? false
        authentication = (result["authMethods"]?.array ?? []).compactMap { method in
            guard let name = method["name"]?.string ?? method["id"]?.string else { return nil }
            return method["description"]?.string.map { "\(name) (\($0))" } ?? name
        }
    }

    struct Unsupported: Error, Sendable, Hashable {
        var version: JSONValue
    }

    static let initialization: JSONValue = [
        "protocolVersion": .integer(protocolVersion),
        "clientCapabilities": ["fs": ["readTextFile": false, "writeTextFile": false], "terminal": false],
        "clientInfo": ["name": "holdfast", "title": "Holdfast", "version": "1"],
    ]

    /// Whether an answer to `session/load` or `session/resume` says that the agent does not have the conversation any more, or
    /// cannot load at all. Everything else may be over in a minute, and a conversation is not given up for it.
    static func isLoss(_ error: JSONRPCError) -> Bool {
        switch error.code {
        case JSONRPCError.resourceNotFound, JSONRPCError.methodNotFound: return true
        case JSONRPCError.authenticationRequired, JSONRPCError.requestCancelled: return false
        default:
            let text = error.message.lowercased()
            let isAboutIt = ["session", "conversation", "thread"].contains { text.contains($0) }
            let isMissing = ["not found", "unknown", "no such", "does not exist", "doesn't exist", "no conversation found"]
                .contains { text.contains($0) }
            return isAboutIt && isMissing
        }
    }
}

/// The choices that an agent offers for a conversation, such as its model (`configOptions`), and what is chosen.
struct ACPChoices: Sendable, Hashable {
    enum Category: String, Sendable, CaseIterable {
        case mode, model
        case effort = "thought_level"
    }

    struct Choice: Sendable, Hashable {
        var id: String
        var current: String
        var values: [String]
    }

    private(set) var choices: [Category: Choice] = [:]

    init(_ options: JSONValue?) {
        for option in options?.array ?? [] {
            guard let category = option["category"]?.string.flatMap(Category.init(rawValue:)), choices[category] == nil,
                let id = option["id"]?.string, let current = option["currentValue"]?.string
            else { continue }
            let entries = (option["options"]?.array ?? []).flatMap { $0["options"]?.array ?? [$0] }
            choices[category] = Choice(id: id, current: current, values: entries.compactMap { $0["value"]?.string })
        }
    }
}

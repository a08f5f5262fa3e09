import SessionModel

/// What the app server's notifications about one turn mean as transcript events.
struct CodexTranslation: Sendable {
    private(set) var assembly = TurnAssembly()
    private let directory: String
    private var before: CodexTokens?

    /// - Parameters:
    ///   - directory: the working directory; paths inside it are shown relative to it.
    ///   - before: what the thread had used before this turn, if that is known.
    init(directory: String = "/", before: CodexTokens? = nil) {
        self.directory = directory
        self.before = before
    }

    mutating func notified(_ method: String, _ params: JSONValue, at now: Timestamp) -> [TurnOutput] {
        switch method {
        case "item/agentMessage/delta":
            return assembly.speak(.message, params["delta"]?.string ?? "", id: params["itemId"]?.string)
        case "item/started": return item(params, isOver: false, now)
        case "item/completed": return item(params, isOver: true, now)
        case "turn/plan/updated":
            let entries = (params["plan"]?.array ?? []).compactMap { entry in
                entry["step"]?.string.map { Plan.Entry(content: $0, status: Self.status[entry["status"]?.string ?? ""]) }
            }
            return assembly.endSpeech() + [.event(.plan(Plan(entries: entries)))]
        case "thread/tokenUsage/updated":
            guard let total = CodexTokens(params["tokenUsage"]?["total"]) else { return [] }
            if before == nil { before = CodexTokens(params["tokenUsage"]?["last"]).map { total - $0 } }
            if let before { assembly.usage = total.usage(since: before) }
            return []
        case "error":
            // The last one is the turn's end, and is told there.
            guard params["willRetry"]?.bool == true else { return [] }
            return assembly.endSpeech() + [.event(.error(Reason(CodexFailure(params["error"] ?? .null).message)))]
        default: return []  // What is of no account here, and what a later version adds.
        }
    }

    /// The title of an item, for the question that is asked about it.
    func title(of item: String?) -> String? { assembly.title(ofTool: item) }

    mutating func finish(at now: Timestamp) -> [EventBody] { assembly.finish(at: now) }

    private mutating func item(_ params: JSONValue, isOver: Bool, _ now: Timestamp) -> [TurnOutput] {
        guard let item = params["item"].flatMap({ CodexItem($0) }) else { return [] }
        return assembly.take(item, isOver: isOver, in: directory, at: now)
    }

    private static let status = ["pending": "pending", "inProgress": "in_progress", "completed": "completed"]
}

/// Why a turn of Codex failed, or is tried again.
struct CodexFailure: Sendable, Hashable {
    var message: String
    var reason: EndReason

    init(_ error: JSONValue) {
        message = Self.words(error["message"]?.string ?? "no reason given")
        if let details = error["additionalDetails"]?.string, !details.isEmpty { message += ": \(details)" }
        reason =
            switch error["codexErrorInfo"]?.string {
            case "contextWindowExceeded", "sessionBudgetExceeded", "usageLimitExceeded": .agentLimit
            case "cyberPolicy", "misalignmentPolicyViolation": .refused
            default: .agentError
            }
    }

    /// Some messages are the whole answer of the provider.
    private static func words(_ message: String) -> String {
        guard message.hasPrefix("{"), let answer = try? JSON.decode(JSONValue.self, from: message) else { return message }
        return answer["error"]?["message"]?.string ?? message
    }
}

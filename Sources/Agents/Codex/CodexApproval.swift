import SessionModel

/// A request of Codex that a person can answer, and the answers to it.
struct CodexApproval: Sendable, Hashable {
    var rpcID: JSONValue
    /// What is asked, if it says so itself.
    var question: String?
    var item: String?
    var options: [InputRequest.Option]
    private let answers: [String: JSONValue]
    private let refusal: JSONValue

    /// Nil for a request that is none of these.
    init?(_ rpcID: JSONValue, _ method: String, _ params: JSONValue) {
        self.rpcID = rpcID
        item = params["itemId"]?.string
        let key: String
        switch method {
        case "item/commandExecution/requestApproval", "item/fileChange/requestApproval":
            question = params["reason"]?.string
            key = "decision"
            let offered = params["availableDecisions"]?.array?.compactMap(\.string)
            options = [InputRequest.Option(id: "accept", name: "Allow", kind: "allow_once")]
            if offered?.contains("acceptForSession") ?? true {
                options.append(InputRequest.Option(id: "acceptForSession", name: "Allow for this session", kind: "allow_always"))
            }
        case "mcpServer/elicitation/request":
            question = params["message"]?.string
            key = "action"
            options = [InputRequest.Option(id: "accept", name: "Allow", kind: "allow_once")]
            // A form cannot be filled in here, and no page be opened.
            let required = params["requestedSchema"]?["required"]?.array ?? []
            if params["mode"]?.string == "url" || !required.isEmpty { options = [] }
        default: return nil
        }
        // “decline” lets the turn go on; “cancel” would end it.
        options.append(InputRequest.Option(id: "decline", name: "Refuse", kind: "reject_once"))
        refusal = [key: "decline"]
        var answers: [String: JSONValue] = [:]
        for option in options { answers[option.id] = [key: .string(option.id)] }
        if key == "action", answers["accept"] != nil { answers["accept"] = [key: "accept", "content": [:]] }
        self.answers = answers
    }

    /// The answer for an option; without one, the refusal.
    func answer(_ option: String?) -> JSONValue { option.flatMap { answers[$0] } ?? refusal }
}

extension CodexApproval {
    /// What Codex is told in the place of an answer in words.
    static let nobody = "Nobody can answer this here. Decide it yourself, and say in your answer what you decided and why."

    /// The answer to a question in words (`request_user_input`), which a person cannot be asked: an error, or none, would be an empty
    /// answer to the model. Nil for a request that is no such question.
    static func refusal(ofWords method: String, _ params: JSONValue) -> JSONValue? {
        guard method == "item/tool/requestUserInput" else { return nil }
        let ids = (params["questions"]?.array ?? []).compactMap { $0["id"]?.string }
        return ["answers": .object(Dictionary(ids.map { ($0, ["answers": [.string(nobody)]]) }) { first, _ in first })]
    }
}

extension CodexDriver {
    func requested(_ id: JSONValue, _ method: String, _ params: JSONValue, generation: Int) async {
        guard let agent, agent.generation == generation else { return }
        if let refusal = CodexApproval.refusal(ofWords: method, params) {
            return await agent.connection.respond(to: id, .success(refusal))
        }
        guard let approval = CodexApproval(id, method, params) else {
            return await agent.connection.respond(
                to: id,
                .failure(JSONRPCError(code: JSONRPCError.methodNotFound, message: "this client does not offer \(method)")))
        }
        guard turn.prompted, turn.end == nil, !log.isInterrupted else {
            return await agent.connection.respond(to: id, .success(approval.answer(nil)))
        }
        switch description.permissions ?? .bypass {
        case .bypass: await agent.connection.respond(to: id, .success(approval.answer("accept")))
        case .ask: await ask(approval)
        }
    }

    private func ask(_ approval: CodexApproval) async {
        guard let turn = log.turn else { return }
        let title = self.turn.translation.title(of: approval.item)
        let question = [approval.question, title].compactMap(\.self).joined(separator: ": ")
        if questions.append(
            question.isEmpty ? "May Codex go on?" : question, approval.options, approval, turn: turn.id, at: log.now)
        {
            await showQuestion()
        }
    }

    func answer(_ answer: InputAnswered) async {
        guard let approval = questions.open(answer.request) else { return }
        // Its turn is being stopped, and Codex must hear that first.
        if answer.by == .cancellation { return await interrupt() }
        questions.close()
        await agent?.connection.respond(to: approval.rpcID, .success(approval.answer(answer.option)))
        await showQuestion()
    }
}

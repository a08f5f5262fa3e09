import SessionModel

/// Permission requests and questions (`can_use_tool`) that a person answers.
extension ClaudeCodeDriver {
    struct Question {
        var requestID: String
        var input: JSONValue
        /// What “for this session” stands for.
        var rules: [JSONValue]
        /// Set for a question that is no permission request. A tool call that asks several is answered when all of them are.
        var choice: ClaudeCodeChoice?
    }

    private static let allow = "allow"
    private static let allowAlways = "allow-session"
    private static let deny = "deny"

    func requested(_ frame: JSONValue) async {
        guard let id = frame["request_id"]?.string, let request = frame["request"] else { return }
        guard request["subtype"]?.string == "can_use_tool" else {
            return respond([
                "subtype": "error", "request_id": .string(id),
                "error": .string("this client does not offer \(request["subtype"]?.string ?? "that")"),
            ])
        }
        var question = Question(
            requestID: id, input: request["input"] ?? [:], rules: Self.rules(request["permission_suggestions"]))
        guard let running = log.turn, turn.prompt != nil, !running.interrupted else {
            return refuse(question, "nobody is there to be asked")
        }
        await log.report(turn.translation.permissionRequested(request, at: log.now))
        guard command.asks else { return self.allow(question) }
        var isShown = false
        for choice in ClaudeCodeChoice.all(in: request) {
            question.choice = choice
            if questions.append(choice.question, choice.options, question, turn: running.id, at: log.now) { isShown = true }
        }
        if question.choice != nil {
            if isShown { await showQuestion() }
            return
        }
        var options = [InputRequest.Option(id: Self.allow, name: "Allow once", kind: "allow_once")]
        if !question.rules.isEmpty {
            options.append(.init(id: Self.allowAlways, name: "Allow for this session", kind: "allow_always"))
        }
        options.append(.init(id: Self.deny, name: "Deny", kind: "reject_once"))
        let text = turn.translation.title(of: request).map { "May the agent do this: \($0)" } ?? "May the agent go on?"
        if questions.append(text, options, question, turn: running.id, at: log.now) { await showQuestion() }
    }

    func answer(_ answer: InputAnswered) async {
        guard let question = questions.open(answer.request) else { return }
        // Its turn is being stopped, and the agent must hear that first.
        if answer.by == .cancellation { return await interrupt() }
        questions.close()
        let text = answer.text.flatMap { $0.isEmpty ? nil : $0 }
        if let choice = question.choice {
            choose(choice, answer, question, otherwise: text ?? "Nobody answered this.")
        } else {
            switch answer.option {
            case Self.allow?: allow(question)
            case Self.allowAlways?: allow(question, rules: question.rules)
            default:
                let silence =
                    answer.by == .deadline ? "Nobody answered in time, so this is not allowed." : "This was not allowed."
                refuse(question, text ?? silence)
            }
        }
        await showQuestion()
    }

    /// Answers the tool call with the choices of all its questions, or refuses it with the first that is not answered.
    private func choose(_ choice: ClaudeCodeChoice, _ answer: InputAnswered, _ question: Question, otherwise reason: String) {
        let id = question.requestID
        guard let chosen = choice.answer(answer) else {
            _ = questions.withdraw { $0.requestID == id }
            return refuse(question, reason)
        }
        turn.choices[id, default: [:]][choice.question] = .string(chosen)
        guard !questions.contains(where: { $0.requestID == id }), case .object(var input) = question.input else { return }
        input["answers"] = .object(turn.choices.removeValue(forKey: id) ?? [:])
        var answered = question
        answered.input = .object(input)
        allow(answered)
    }

    /// The suggested rules, for this session only: the agent would write others into the user's files.
    private static func rules(_ suggestions: JSONValue?) -> [JSONValue] {
        (suggestions?.array ?? []).compactMap { suggestion in
            guard suggestion["type"]?.string == "addRules", case .object(var rule) = suggestion else { return nil }
            rule["destination"] = "session"
            return .object(rule)
        }
    }

    private func allow(_ question: Question, rules: [JSONValue] = []) {
        var answer: [String: JSONValue] = ["behavior": "allow", "updatedInput": question.input]
        if !rules.isEmpty { answer["updatedPermissions"] = .array(rules) }
        respond(["subtype": "success", "request_id": .string(question.requestID), "response": .object(answer)])
    }

    private func refuse(_ question: Question, _ reason: String) {
        respond([
            "subtype": "success", "request_id": .string(question.requestID),
            "response": ["behavior": "deny", "message": .string(reason)],
        ])
    }

    private func respond(_ response: JSONValue) {
        agent?.connection.send(JSONLine.encode(["type": "control_response", "response": response]))
    }
}

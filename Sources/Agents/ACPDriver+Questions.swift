import SessionModel

/// Permission requests that a person answers. The session has one open question at a time, so others wait behind it.
extension ACPDriver {
    struct Question {
        var rpcID: JSONValue
        var request: InputRequest
        var options: PermissionOptions
    }

    func ask(_ text: String, _ options: PermissionOptions, rpcID: JSONValue) async {
        guard let turn else { return }
        let number = turn.asked + 1
        self.turn?.asked = number
        // The deadline is set when it is asked.
        let request = InputRequest(id: "\(turn.id)-q\(number)", question: text, options: options.options, deadline: now)
        self.turn?.questions.append(Question(rpcID: rpcID, request: request, options: options))
        if turn.questions.isEmpty { await askNext() }
    }

    func answer(_ answer: InputAnswered) async {
        guard let question = turn?.questions.first, question.request.id == answer.request else { return }
        // Its turn is being stopped, and the agent must hear that first.
        if answer.by == .cancellation { return await interrupt() }
        turn?.questions.removeFirst()
        let result = answer.option.map { PermissionOptions.selected($0) } ?? question.options.refusal
        await agent?.connection.respond(to: question.rpcID, .success(result))
        await askNext()
    }

    /// The agent takes a question back (`$/cancel_request`).
    func withdrawQuestion(_ rpcID: JSONValue) async {
        guard let turn, let index = turn.questions.firstIndex(where: { $0.rpcID == rpcID }) else { return }
        self.turn?.questions.remove(at: index)
        await agent?.connection.respond(
            to: rpcID, .failure(JSONRPCError(code: JSONRPCError.requestCancelled, message: "the request was cancelled")))
        guard index == 0 else { return }
        await turn.reporter.withdrawQuestion()
        await askNext()
    }

    private func askNext() async {
        guard let turn, var request = turn.questions.first?.request else { return }
        request.deadline = now + turn.inputTimeout
        await turn.reporter.ask(request)
    }
}

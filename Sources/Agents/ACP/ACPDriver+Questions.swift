import SessionModel

/// Permission requests that a person answers.
extension ACPDriver {
    struct Question {
        var rpcID: JSONValue
        var options: PermissionOptions
    }

    func ask(_ text: String, _ options: PermissionOptions, rpcID: JSONValue) async {
        guard let turn = log.turn else { return }
        let question = Question(rpcID: rpcID, options: options)
        if questions.append(text, options.options, question, turn: turn.id, at: log.now) { await showQuestion() }
    }

    func answer(_ answer: InputAnswered) async {
        guard let question = questions.open(answer.request) else { return }
        // Its turn is being stopped, and the agent must hear that first.
        if answer.by == .cancellation { return await interrupt() }
        questions.close()
        let result = answer.option.map { PermissionOptions.selected($0) } ?? question.options.refusal
        await agent?.connection.respond(to: question.rpcID, .success(result))
        await showQuestion()
    }

    /// The agent takes a question back (`$/cancel_request`).
    func withdrawQuestion(_ rpcID: JSONValue) async {
        guard let wasShown = questions.withdraw(where: { $0.rpcID == rpcID }) else { return }
        await agent?.connection.respond(
            to: rpcID, .failure(JSONRPCError(code: JSONRPCError.requestCancelled, message: "the request was cancelled")))
        guard wasShown else { return }
        await log.turn?.reporter.withdrawQuestion()
        await showQuestion()
    }
}

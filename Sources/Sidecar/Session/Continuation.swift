import Journal
import SessionModel

/// What an agent is told instead of its prompt when it is to go on with a turn that was cut off.
enum Continuation {
    static func text(prompt: String, interruption: Interruption, last: TranscriptReader.LastToolCall?) -> String {
        let why = interruption.message ?? "it was cut off (\(interruption.reason.rawValue))"
        return """
            You were working on the request below when you were interrupted: \(why). \(seen(last))

            Some of it may be done, some half done, some not begun. Look at how things stand, then go on from there, and do not do \
            again what is done. The request was:

            \(prompt)
            """
    }

    private static func seen(_ last: TranscriptReader.LastToolCall?) -> String {
        guard let last else { return "No tool call of yours was seen before that." }
        var text = "The last tool call that was seen of you was “\(last.call.title.prefix(bytes: 512))”"
        if let input = last.call.input { text += " with the input \(input.prefix(bytes: 2048))" }
        switch last.status {
        case nil, "unfinished"?: return text + "; no result of it was seen, so it may have had any part of its effect."
        case let status?: return text + ", and it had \(status)."
        }
    }
}

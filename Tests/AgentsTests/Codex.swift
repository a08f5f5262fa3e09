import Foundation
import SessionModel

/// Frames of Codex's app server, and servers made of them.
enum Codex {
    /// What is printed when a line with the method (or, with a quote, another text) arrives, where `%s` is the line's id; and the shell
    /// commands after it.
    typealias Rule = (method: String, frames: [String], then: String)

    /// A server that keeps what it is sent in the file `sent`.
    static func server(_ rules: [Rule]) -> [String] {
        let cases = rules.map { rule in
            let pattern = rule.method.hasPrefix("\"") ? rule.method : "\"method\":\"\(rule.method)\""
            let prints = rule.frames.map { "printf '\(quoted($0))\\n' \"$id\"" }
            return "*'\(pattern)'*) \((prints + [rule.then, ":"]).filter { !$0.isEmpty }.joined(separator: "\n"));;"
        }
        return [
            "/bin/bash", "--norc", "-c",
            """
            turn=0
            while read -r line; do
            printf '%s\\n' "$line" >> sent
            id=${line#*'"id":'}; id=${id%%,*}
            case "$line" in
            \(cases.joined(separator: "\n"))
            esac
            done
            """, "codex",
        ]
    }

    /// For printf: `%s` stays, backslashes are doubled.
    private static func quoted(_ frame: String) -> String { frame.replacingOccurrences(of: "\\", with: "\\\\") }

    static let initialized: Rule = (
        "initialize", [#"{"id":%s,"result":{"userAgent":"holdfast/0.163.0 (Debian 12.0.0; x86_64)","platformOs":"linux"}}"#], ""
    )
    static let opened: Rule = ("thread/start", [#"{"id":%s,"result":{"thread":{"id":"th1","turns":[]},"model":"usual"}}"#], "")
    static let resumed: Rule = ("thread/resume", [#"{"id":%s,"result":{"thread":{"id":"th1"},"model":"usual"}}"#], "")

    /// Answers a prompt with a turn of these frames. Without an id each prompt gets a turn of its own: their `u1` is counted up.
    static func turn(
        _ frames: [String], id: String? = nil, status: String = "\"completed\"", before: String = "", after: [String] = []
    ) -> Rule {
        let all = begun("u1") + frames + [completed("u1", status: status)] + after
        let prints = all.map { "printf '\(quoted($0).replacingOccurrences(of: "\"u1\"", with: "\"'$u'\""))\\n' \"$id\"" }
        let count = id.map { "u=\($0)" } ?? "turn=$((turn+1)); u=u$turn"
        return ("turn/start", [], ([count, before].filter { !$0.isEmpty } + prints).joined(separator: "\n"))
    }

    static func begun(_ id: String) -> [String] {
        [#"{"id":%s,"result":{"turn":{"id":"\#(id)","status":"inProgress"}}}"#, turnStarted(id)]
    }

    static func turnStarted(_ id: String) -> String {
        #"{"method":"turn/started","params":{"threadId":"th1","turn":{"id":"\#(id)","status":"inProgress"}}}"#
    }

    static func completed(_ id: String, status: String = "\"completed\"") -> String {
        #"{"method":"turn/completed","params":{"threadId":"th1","turn":{"id":"\#(id)","status":\#(status)}}}"#
    }

    static func notification(_ method: String, _ params: String, turn: String = "u1") -> String {
        #"{"method":"\#(method)","params":{"threadId":"th1","turnId":"\#(turn)",\#(params)}}"#
    }

    static func delta(_ item: String, _ text: String) -> String {
        notification("item/agentMessage/delta", #""itemId":"\#(item)","delta":"\#(text)""#)
    }

    static func message(_ item: String, _ text: String) -> String {
        notification("item/completed", #""item":{"type":"agentMessage","id":"\#(item)","text":"\#(text)"}"#)
    }

    static func used(_ input: Int, _ output: Int, last: (Int, Int)? = nil, turn: String = "u1") -> String {
        func counts(_ input: Int, _ output: Int) -> String {
            #"{"totalTokens":\#(input + output),"inputTokens":\#(input),"cachedInputTokens":0,"outputTokens":\#(output),"reasoningOutputTokens":0}"#
        }
        let last = last ?? (input, output)
        return notification(
            "thread/tokenUsage/updated",
            #""tokenUsage":{"total":\#(counts(input, output)),"last":\#(counts(last.0, last.1))}"#, turn: turn)
    }
}

extension Bench {
    /// What a server made of frames was sent, in order.
    func sent() throws -> [JSONValue] { try file("sent").split(separator: "\n").map { try JSON.decode(from: String($0)) } }
}

import FoundationEssentials
import Glibc
import SessionModel

/// An agent for measuring: it speaks version 1 of the Agent Client Protocol and does nothing but print.
///
/// `holdfast-bench peer EVENTS STAMPS`: each prompt is answered with EVENTS tool calls, which are two transcript events each; the
/// moment at which a prompt arrived goes to the file STAMPS, when one is named.
enum Peer {
    static func run(events: Int, stamps: String) throws {
        let calls = toolCalls(events / 2)
        while let line = readLine() {
            guard let message = try? JSON.decode(JSONValue.self, from: line), let id = message["id"],
                let method = message["method"]?.string
            else { continue }
            switch method {
            case "initialize":
                try answer(
                    id,
                    #"{"protocolVersion":1,"agentCapabilities":{"loadSession":true},"agentInfo":{"name":"bench","version":"1"}}"#)
            case "session/new": try answer(id, #"{"sessionId":"bench"}"#)
            case "session/load": try answer(id, "{}")
            case "session/prompt":
                if !stamps.isEmpty { try stamp(stamps) }
                try put(calls)
                try answer(id, #"{"stopReason":"end_turn"}"#)
            default:
                try put(
                    Array(
                        #"{"jsonrpc":"2.0","id":\#(try JSON.string(id)),"error":{"code":-32601,"message":"no \#(method)"}}"#.utf8)
                        + [10])
            }
        }
    }

    /// Each with an input and an output of 200 bytes.
    private static func toolCalls(_ count: Int) -> [UInt8] {
        let text = String(repeating: "bench and mark ", count: 14).prefix(200)
        var bytes: [UInt8] = []
        for index in 0..<count {
            for update in [
                #""tool_call","toolCallId":"c\#(index)","title":"Read file \#(index)","kind":"read","status":"in_progress","rawInput":{"path":"\#(text)"}"#,
                #""tool_call_update","toolCallId":"c\#(index)","status":"completed","content":[{"type":"content","content":{"type":"text","text":"\#(text)"}}]"#,
            ] {
                bytes += Array(
                    #"{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"bench","update":{"sessionUpdate":\#(update)}}}"#
                        .utf8)
                bytes.append(10)
            }
        }
        return bytes
    }

    private static func stamp(_ path: String) throws {
        let moment = Array("\(wallClock())\n".utf8)
        let fd = try check(open(path, O_WRONLY | O_CREAT | O_APPEND, 0o600), path)
        write(fd, moment, moment.count)
        close(fd)
    }

    private static func answer(_ id: JSONValue, _ result: String) throws {
        try put(Array(#"{"jsonrpc":"2.0","id":\#(try JSON.string(id)),"result":\#(result)}"#.utf8) + [10])
    }

    private static func put(_ bytes: [UInt8]) throws {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { write(1, $0.baseAddress! + done, $0.count - done) }
            guard count > 0 else { throw Failure("the client went away") }
            done += count
        }
    }
}

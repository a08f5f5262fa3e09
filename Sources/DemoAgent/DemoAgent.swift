import Dispatch
import FoundationEssentials
import Glibc

/// The program: its command line, and the loop that reads what the client sends.
public enum DemoAgent {
    public static func main(_ arguments: [String]) async {
        var arguments = arguments.dropFirst()
        while let argument = arguments.popFirst() {
            switch argument {
            case "--help", "-h":
                print(help, terminator: "")
                return
            case "--hang-at-start":
                while true { pause() }
            case "--exit-at-start":
                guard let code = arguments.popFirst().flatMap({ Int32($0) }) else { wrong("--exit-at-start needs an exit code") }
                exit(code)
            default:
                wrong("unknown argument \(argument)")
            }
        }
        let environment = ProcessInfo.processInfo.environment
        guard let home = environment["HOLDFAST_AGENT_STATE"] ?? environment["HOME"].map({ $0 + "/.holdfast-demo-agent" }) else {
            wrong("neither HOLDFAST_AGENT_STATE nor HOME says where to keep conversations")
        }
        let agent = Agent(home: home)
        for await line in inputLines() { await agent.received(line) }
        await agent.endWork()
        exit(0)
    }

    private static func wrong(_ message: String) -> Never {
        _ = writeAll(Array("holdfast-demo-agent: \(message); see --help\n".utf8), to: 2)
        exit(64)
    }

    /// The lines of standard input, read on a thread of their own so that a cancellation is seen while the agent works.
    private static func inputLines() -> AsyncStream<[UInt8]> {
        AsyncStream { continuation in
            DispatchQueue(label: "stdin").async {
                var line: [UInt8] = []
                var buffer = [UInt8](repeating: 0, count: 65_536)
                while true {
                    let count = read(0, &buffer, buffer.count)
                    if count < 0, errno == EINTR { continue }
                    guard count > 0 else { break }
                    var rest = buffer[..<count]
                    while let newline = rest.firstIndex(of: UInt8(ascii: "\n")) {
                        continuation.yield(line + rest[..<newline])
                        line = []
                        rest = rest[(newline + 1)...]
                    }
                    line += rest
                }
                continuation.finish()
            }
        }
    }
}

import ArgumentParser
import FoundationEssentials
import Glibc
import SessionModel

struct TurnsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "turns", abstract: "List the live and the latest turns.")

    @OptionGroup var inspector: InspectorOptions
    @Flag(help: "Print the API's answer as JSON.") var json = false

    func run() throws {
        do {
            let answer = try inspector.client.request("GET", "/v1/turns")
            guard answer.status < 300 else { throw InspectorClient.problem(answer) }
            if json {
                Terminal.write(String(decoding: answer.body, as: UTF8.self) + "\n")
                return
            }
            let list = try JSON.decode(TurnList.self, from: Data(answer.body))
            if list.turns.isEmpty { return Terminal.write("No turns yet; `holdfast-sidecar enqueue PROMPT` makes one.\n") }
            for turn in list.turns {
                var state = turn.state.rawValue
                if let position = turn.position { state += " #\(position)" }
                if let reason = turn.reason, reason != .completed { state += " (\(reason.rawValue))" }
                let prompt = turn.prompt.split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
                Terminal.write(Self.column(turn.id.description, 6) + Self.column(state, 26) + prompt.prefix(bytes: 100) + "\n")
            }
        } catch { Exit.fail(error) }
    }

    private static func column(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }
}

struct EnqueueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enqueue", abstract: "Accept a turn; prints its id once it is durable.")

    @OptionGroup var inspector: InspectorOptions
    @Option(help: "Makes repeating this command harmless: one key, one turn.") var key: String?
    @Option(help: "Queue, Reject or Supersede.") var whenBusy: WhenBusy?
    @Option(help: "What Supersede compares.") var supersedeKey: String?
    @Option(help: "How long the agent may work on it.") var timeout: TimeSpan?
    @Option(help: "What becomes of it when it is cut off: Fail, Retry:N or Continue:N.") var onInterrupt: OnInterrupt?
    @Flag(help: "Record every frame of the agent's protocol.") var raw = false
    @Argument(help: "The prompt, or - for standard input.") var prompt: String

    func run() throws {
        do {
            var text = prompt
            if prompt == "-" {
                var bytes: [UInt8] = []
                var part = [UInt8](repeating: 0, count: 64 << 10)
                while case let count = read(STDIN_FILENO, &part, part.count), count > 0 { bytes += part.prefix(count) }
                text = String(decoding: bytes, as: UTF8.self)
            }
            let request = TurnRequest(
                prompt: text, whenBusy: whenBusy, supersedeKey: supersedeKey, timeout: timeout, onInterrupt: onInterrupt,
                raw: raw ? true : nil)
            let turn = try inspector.client.json(
                Turn.self, "POST", "/v1/turns",
                headers: [("Content-Type", "application/json")] + (key.map { [("Idempotency-Key", $0)] } ?? []),
                body: Array(try JSON.encode(request)))
            Terminal.write("\(turn.id) \(turn.state.rawValue)\(turn.position.map { ", number \($0) in the queue" } ?? "")\n")
        } catch { Exit.fail(error) }
    }
}

struct CancelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Cancel a turn: a queued one never runs, a running one is interrupted.")

    @OptionGroup var inspector: InspectorOptions
    @Argument(help: "The turn's id, such as t3.") var turn: String

    func run() throws {
        do {
            guard let id = TurnID(turn) else {
                throw Problem(.invalidRequest, "“\(turn)” is not a turn's id; they look like t3.")
            }
            let turn = try inspector.client.json(Turn.self, "DELETE", "/v1/turns/\(id)")
            Terminal.write("\(turn.id) \(turn.state.rawValue)\(turn.state.isTerminal ? "" : ", being cancelled")\n")
        } catch { Exit.fail(error) }
    }
}

struct AnswerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "answer", abstract: "Answer the question that a turn waits on.")

    @OptionGroup var inspector: InspectorOptions
    @Argument(help: "The turn's id, such as t3.") var turn: String
    @Argument(help: "The id of the chosen option; without it the request is refused.") var option: String?

    func run() throws {
        do {
            guard let id = TurnID(turn) else {
                throw Problem(.invalidRequest, "“\(turn)” is not a turn's id; they look like t3.")
            }
            let turn = try inspector.client.json(
                Turn.self, "POST", "/v1/turns/\(id)/input", headers: [("Content-Type", "application/json")],
                body: Array(try JSON.encode(InputAnswer(option: option))))
            Terminal.write("\(turn.id) \(turn.state.rawValue)\n")
        } catch { Exit.fail(error) }
    }
}

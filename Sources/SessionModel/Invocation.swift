/// How the `command` driver runs a program: once for every turn.
///
/// ```json
/// {"driver": "command",
///  "command": ["codex", "exec", "--json", "--model={model}", "--"],
///  "invocation": {"output": "Codex", "resume": ["codex", "exec", "resume", "--json", "--model={model}", "{conversation}", "--"]}}
/// ```
///
/// In the arguments of `command` and `resume`, `{prompt}`, `{model}`, `{effort}` and `{conversation}` stand for what the turn has. An
/// argument that mentions the model or the effort is left out when there is none.
public struct Invocation: Sendable, Hashable, Codable {
    /// How the program gets the prompt.
    public enum Prompt: String, Sendable, Hashable, Codable, CaseIterable {
        /// In the place of `{prompt}`; without one, as the last argument. Linux takes at most 128 KiB.
        case argument = "Argument"
        /// On its standard input, which ends after it.
        case stdin = "Stdin"
    }

    /// What the program prints.
    public enum Output: String, Sendable, Hashable, Codable, CaseIterable {
        /// Its standard output is the agent's message.
        case text = "Text"
        /// The events of `codex exec --json`, one a line.
        case codex = "Codex"
    }

    /// Default `Argument`.
    public var prompt: Prompt?
    /// Default `Text`; for the Kelos agent type `codex`, `Codex`.
    public var output: Output?
    /// The program and its arguments for every turn after the conversation's first. Without it each turn is a new conversation, which
    /// is told what was done before.
    public var resume: [String]?
    /// The `KELOS_AGENT_TYPE` of an image that is made for Kelos: the variables and the results of its contract apply.
    public var kelos: String?

    public init(prompt: Prompt? = nil, output: Output? = nil, resume: [String]? = nil, kelos: String? = nil) {
        self.prompt = prompt
        self.output = output
        self.resume = resume
        self.kelos = kelos
    }

    /// What is wrong with it, as one sentence; nil when nothing is.
    func mistake(command: [String]) -> String? {
        if let resume, resume.first?.isEmpty ?? true { return "agent.invocation.resume is empty: name the program to run" }
        if prompt == .stdin, (command + (resume ?? [])).contains(where: { $0.contains("{prompt}") }) {
            return "agent.invocation.prompt is Stdin, and an argument mentions {prompt}: choose one"
        }
        let namesConversation = command.contains { $0.contains("{conversation}") }
        if resume?.contains(where: { $0.contains("{conversation}") }) == true, !namesConversation, output ?? .text == .text {
            return
                "agent.invocation.resume mentions {conversation}, and nothing says what it is: mention it in agent.command, or choose an agent.invocation.output that has it"
        }
        if namesConversation, output == .codex {
            return "agent.command mentions {conversation}, but with agent.invocation.output Codex the program chooses it"
        }
        if kelos?.isEmpty == true { return "agent.invocation.kelos is empty: name the image's agent type, such as codex" }
        return nil
    }
}

import Foundation
import SessionModel
import Support
import Testing

@Suite struct EventCodingTests {
    /// One body of every case. A new case does not compile in ``number(of:)`` until it is counted, and then it is missed here.
    static let samples: [EventBody] = {
        let moment = Timestamp(milliseconds: 1_795_457_645_123)
        let workspace = WorkspaceState(
            branch: "main", commit: "4f9a", unpushed: 2, dirtyFiles: ["a b", "é"], dirtyFileCount: 7, diffstat: "1 file changed")
        return [
            .sessionOpened(SessionOpened(version: "1", session: try? SessionKey(parsing: "pr:acme/widgets#1~x"))),
            .sessionDraining(SessionDraining(reason: "idle", deadline: moment)), .sessionDrained,
            .keepAlive(KeepAlive(until: moment)),
            .journalGap(JournalGap(from: 3, to: 9, file: "f", reason: "r")),
            .turnQueued(
                TurnQueued(
                    request: TurnRequest(
                        prompt: "p\n\"q\"\u{0}漢", whenBusy: .supersede, supersedeKey: "k", timeout: .minutes(3), model: "m",
                        effort: "high", onInterrupt: .retry(2), raw: true),
                    key: KeyDigest(key: "idempotency", request: TurnRequest(prompt: "p")))),
            .turnDispatched,
            .inputRequested(
                InputRequest(
                    id: "i", question: "May I?", options: [.init(id: "y", name: "Yes", kind: "allow_once")], deadline: moment)),
            .inputAnswered(InputAnswered(request: "i", option: "y", text: "t", by: .person)),
            .cancelRequested(CancelRequested(reason: .superseded)),
            .turnEnded(
                TurnEnded(
                    state: .failed, reason: .agentError, message: "m",
                    results: TurnResults(
                        answer: "a", usage: Usage(inputTokens: .max, outputTokens: 1, cachedInputTokens: 0, costUSD: 0.1),
                        workspace: workspace,
                        toolCalls: 3))),
            .hostConnected(HostConnected(pid: 1)), .hostLost(Reason("r")),
            .agentStarted(AgentStarted(driver: "acp", name: "n", version: nil, pid: 7)), .agentExited(Reason("r")),
            .agentReleased(Reason("r")), .agentOutput(AgentOutput(stream: .stderr, text: "t", dropped: 12)),
            .conversationStarted(Conversation(id: "c")), .conversationResumed(Conversation(id: "c")),
            .conversationReseeded(Conversation(id: "c", reason: "r")), .message(Message(text: "t")), .thought(Thought(text: "t")),
            .toolCall(ToolCall(id: "c", title: "t", kind: "execute", input: "{}")),
            .toolResult(
                ToolResult(
                    id: "c", title: "t", status: "completed", output: "o", diffs: [.init(path: "p", oldText: nil, newText: "n")],
                    milliseconds: 12)),
            .plan(Plan(entries: [.init(content: "c", status: "pending")])), .usage(Usage(inputTokens: 3)), .error(Reason("r")),
            .workspaceStep(WorkspaceStep(.diverged, "m")), .workspaceState(workspace),
            .turnPrompted(TurnPrompted(text: "t")),
            .turnInterrupted(
                Interruption(
                    reason: .hostLost, message: "m", attempt: 1, next: .continue, usage: Usage(inputTokens: 1))),
            .agentFrame(AgentFrame(direction: .sent, text: "{}", bytes: 7, dropped: 1)),
            .background(Background(["sleep 1"])),
            .git(
                GitTransfer(
                    operation: .push, outcome: .failed,
                    refs: [GitRefUpdate(ref: "refs/heads/a", old: nil, new: "1", result: .refused("r"))], message: "m",
                    sentBytes: .max)),
            .unknown(type: "later.version", data: ["a": [1, nil, true, "x"]]),
        ]
    }()

    /// Each case's place. Without a default, so that the compiler names a case that was forgotten.
    private func number(of body: EventBody) -> Int {
        switch body {
        case .sessionOpened: 0
        case .sessionDraining: 1
        case .sessionDrained: 2
        case .keepAlive: 3
        case .journalGap: 4
        case .turnQueued: 5
        case .turnDispatched: 6
        case .inputRequested: 7
        case .inputAnswered: 8
        case .cancelRequested: 9
        case .turnEnded: 10
        case .hostConnected: 11
        case .hostLost: 12
        case .agentStarted: 13
        case .agentExited: 14
        case .agentReleased: 15
        case .agentOutput: 16
        case .conversationStarted: 17
        case .conversationResumed: 18
        case .conversationReseeded: 19
        case .message: 20
        case .thought: 21
        case .toolCall: 22
        case .toolResult: 23
        case .plan: 24
        case .usage: 25
        case .error: 26
        case .workspaceStep: 27
        case .workspaceState: 28
        case .turnPrompted: 29
        case .turnInterrupted: 30
        case .agentFrame: 31
        case .background: 32
        case .git: 33
        case .unknown: 34
        }
    }

    @Test func everyCaseIsSampledAndHasATypeOfItsOwn() {
        #expect(Self.samples.map(number(of:)) == Array(0..<35))
        #expect(Set(Self.samples.map(\.type)).count == Self.samples.count)
    }

    @Test func everyCaseIsReadAsItWasWritten() throws {
        for (index, body) in Self.samples.enumerated() {
            for turn in [nil, TurnID(7)] {
                let event = Event(
                    sequence: UInt64(index) + 1, epoch: 3, time: Timestamp(milliseconds: 1_795_457_645_123), turn: turn,
                    body: body)
                let data = try JSON.string(AnyEncodable(body.data))
                #expect(!data.contains("\n"))
                let line =
                    "{\"seq\":\(event.sequence),\"epoch\":3,\"time\":\"\(event.time)\"\(turn.map { ",\"turn\":\"\($0)\"" } ?? ""),"
                    + "\"type\":\"\(body.type)\",\"data\":\(data)}"
                #expect(try JSON.decode(Event.self, from: line) == event, "\(line)")
            }
        }
    }

    @Test func theFoldReadsTheDataOfEveryEventThatChangesIt() {
        // An event whose data a reader of the journal skips must not matter to the queue.
        for body in Self.samples where !EventBody.concernsQueue(type: body.type) {
            var queue = TurnQueue()
            queue.apply(
                .turnQueued(TurnQueued(request: TurnRequest(prompt: "p"), key: nil)), turn: TurnID(1), at: .init(milliseconds: 1))
            queue.apply(
                .conversationReseeded(Conversation(id: "c", reason: "r")), turn: TurnID(1), at: .init(milliseconds: 1))
            var skipped = queue
            if EventBody.showsWork(type: body.type) { skipped.agentWorked() }
            queue.apply(body, turn: TurnID(1), at: .init(milliseconds: 2))
            #expect(queue == skipped, "\(body.type)")
        }
    }

    @Test func theAPIsDescriptionNamesEveryReason() throws {
        let supervisors: [EndReason] = [.journalLost, .sessionEnded, .sessionFailed, .rejected, .workerMismatch]
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "docs/openapi.yaml"), encoding: .utf8)
        let line = try #require(text.split(separator: "\n").first { $0.contains("enum: [Completed, ") })
        let names = line.split(separator: "[")[1].split(separator: "]")[0].split(separator: ",")
        #expect(
            names.map { $0.trimmingCharacters(in: .whitespaces) }
                == EndReason.allCases.filter { !supervisors.contains($0) }.map(\.rawValue))
    }

    @Test func anyJSONIsKept() throws {
        let text = #"{"a":[1,-2,1.5,true,false,null,"x\u0000y",{"b":{}}],"c":9223372036854775807,"d":1e300}"#
        let value = try JSON.decode(JSONValue.self, from: text)
        #expect(try JSON.decode(JSONValue.self, from: JSON.encode(value)) == value)
        #expect(value["a"]?.array?.count == 8)
        #expect(value["c"]?.integer == .max)
    }

    @Test func whatIsWrongWithADocumentNamesTheField() {
        struct Document: Codable { struct Inner: Codable { var number: Int }; var scope: Inner }
        func clause(_ text: String) -> String? {
            (#expect(throws: DecodingError.self) { try JSON.decode(Document.self, from: text) })?.clause
        }
        #expect(clause(#"{"scope":{"number":"x"}}"#)?.hasPrefix("scope.number is not of type") == true)
        #expect(clause(#"{"scope":{}}"#) == "scope.number is missing")
        #expect(clause("{") != nil)
    }
}

struct AnyEncodable: Encodable {
    private let value: any Encodable
    init(_ value: any Encodable) { self.value = value }
    func encode(to encoder: any Encoder) throws { try value.encode(to: encoder) }
}

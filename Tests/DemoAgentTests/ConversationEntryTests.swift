import SessionModel
import Testing

@testable import DemoAgent

@Suite struct ConversationEntryTests {
    private let entries: [ConversationEntry] = [
        .opened(directory: "/work"), .prompt("hello\nthere"),
        .update(["sessionUpdate": "agent_message_chunk", "content": ["type": "text", "text": "hi"]]),
    ]

    @Test func whatIsWrittenIsRead() throws {
        let bytes = entries.flatMap(\.line)
        #expect(bytes.filter { $0 == 10 }.count == 3)
        let (read, length) = try ConversationEntry.parse(bytes)
        #expect(read == entries)
        #expect(length == bytes.count)
    }

    @Test func aTornLastLineIsLeftOut() throws {
        let whole = entries.flatMap(\.line)
        for cut in 1..<entries[2].line.count {
            let (read, length) = try ConversationEntry.parse(Array(whole.dropLast(cut)))
            #expect(read == Array(entries.dropLast()))
            #expect(length == whole.count - entries[2].line.count)
        }
    }

    @Test func damageElsewhereIsAnError() {
        var bytes = entries.flatMap(\.line)
        bytes[entries[0].line.count] = 0
        #expect(throws: ConversationError.self) { try ConversationEntry.parse(bytes) }
        #expect(throws: ConversationError.self) { try ConversationEntry.parse([]) }
        #expect(throws: ConversationError.self) { try ConversationEntry.parse(entries[1].line) }
    }

    @Test func theReplayShowsPromptsAndUpdates() {
        #expect(entries.map { $0.replay?["sessionUpdate"]?.string } == [nil, "user_message_chunk", "agent_message_chunk"])
    }
}

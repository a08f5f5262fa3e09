import SessionModel
import Testing

@testable import Agents

@Suite struct LineReaderTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test(arguments: 1...12) func linesDoNotDependOnChunks(size: Int) {
        let text = bytes("one\n\ntwo and more\nthree")
        var reader = LineReader()
        var lines: [LineReader.Line] = []
        for start in stride(from: 0, to: text.count, by: size) {
            lines += reader.append(Array(text[start..<min(start + size, text.count)]))
        }
        #expect(lines == ["one", "", "two and more"].map { .whole(bytes($0)) })
        #expect(reader.finish() == .whole(bytes("three")))
        #expect(reader.finish() == nil)
    }

    @Test(arguments: 1...12) func aLineOverTheLimitIsDiscardedToItsNewline(size: Int) {
        let text = bytes("12345\n123456\n1\n12345678901234")
        var reader = LineReader(limit: 5)
        var lines: [LineReader.Line] = []
        for start in stride(from: 0, to: text.count, by: size) {
            lines += reader.append(Array(text[start..<min(start + size, text.count)]))
        }
        #expect(lines == [.whole(bytes("12345")), .tooLong(bytes: 6), .whole(bytes("1"))])
        #expect(reader.finish() == .tooLong(bytes: 14))
    }
}

@Suite struct OutputLogTests {
    @Test func textIsCutIntoPiecesBetweenCharacters() {
        var log = OutputLog(limit: 1 << 20)
        let text = String(repeating: "añ…😀", count: 5000)
        let pieces = log.add(Array(text.utf8), to: .stdout)
        #expect(pieces.map(\.text).joined() == text)
        #expect(pieces.count == 4)
        #expect(pieces.allSatisfy { $0.text.utf8.count <= OutputLog.pieceLimit })
        #expect(log.dropped == [])
    }

    @Test func charactersMayArriveInParts() {
        var log = OutputLog(limit: 1 << 20)
        var text = ""
        for byte in "añ…😀 end".utf8 { text += log.add([byte], to: .stderr).map(\.text).joined() }
        #expect(text == "añ…😀 end")
    }

    @Test func bytesThatAreNotUTF8AreRepaired() {
        var log = OutputLog(limit: 1 << 20)
        #expect(log.add([0xff, 0xfe, 0x80, 0x80, 0x80, 0x61], to: .stdout).map(\.text).joined().hasSuffix("a"))
    }

    @Test func beyondTheLimitItOnlyCounts() {
        var log = OutputLog(limit: 100)
        #expect(log.add([UInt8](repeating: 97, count: 150), to: .stdout).map(\.text.utf8.count) == [100])
        #expect(log.add([UInt8](repeating: 97, count: 1000), to: .stdout) == [])
        #expect(log.add([98], to: .stderr).count == 1)
        log.drop(7, from: .stderr)
        #expect(
            log.dropped == [
                AgentOutput(stream: .stdout, text: "", dropped: 1050), AgentOutput(stream: .stderr, text: "", dropped: 7),
            ])
    }

    @Test func manyTinyPiecesReachTheLimitToo() {
        var log = OutputLog(limit: 10_000)
        let events = (0..<10_000).reduce(0) { count, _ in count + log.add([97], to: .stderr).count }
        #expect(events < 200)
    }
}

@Suite struct JSONRPCMessageTests {
    private func message(_ text: String) -> JSONRPCMessage? { JSONLine.parse(Array(text.utf8)).flatMap(JSONRPCMessage.init) }

    @Test func requestsNotificationsAndResponses() {
        #expect(message(#"{"id":"a","method":"m","params":[1]}"#) == .request(id: "a", method: "m", params: [1]))
        #expect(message(#" {"method":"m"}"#) == .notification(method: "m", params: .null))
        #expect(message(#"{"id":1,"result":null}"#) == .response(id: 1, .success(.null)))
        #expect(message(#"{"id":1,"error":null,"result":2}"#) == .response(id: 1, .success(2)))
        let error = JSONRPCError(code: -32603, message: "Internal error: no key")
        #expect(
            message(#"{"id":1,"error":{"code":-32603,"message":"Internal error","data":{"details":"no key"}}}"#)
                == .response(id: 1, .failure(error)))
    }

    @Test(arguments: ["", "noise", "{", "{}", "[]", #"{"id":1}"#, "{\"id\":1,\"result\":1e999}", "\u{FEFF}{}"])
    func everythingElseIsNoMessage(text: String) { #expect(message(text) == nil) }

    @Test func deepNestingIsNoDanger() {
        for depth in [400, 100_000] {
            let line =
                #"{"method":"m","params":"# + String(repeating: "[", count: depth) + String(repeating: "]", count: depth) + "}"
            _ = message(line)
        }
    }
}

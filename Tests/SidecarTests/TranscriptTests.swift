import Curl
import Foundation
import SessionModel
import Support
import Testing

func sharedStream(_ request: CurlRequest) async throws -> CurlStreamedResponse {
    try await CurlClient.shared.stream(request)
}

/// One event of a Server-Sent Events stream.
private struct ServerSentEvent: Equatable {
    var id: String?
    var type = ""
    var data = ""
}

/// Reads a stream until its events satisfy `isEnough`.
private func follow(
    _ sidecar: SidecarProcess, _ query: String = "", lastEventID: String? = nil, until isEnough: ([ServerSentEvent]) -> Bool
) async throws -> [ServerSentEvent] {
    var headers = ["Accept": "text/event-stream"]
    headers["Last-Event-ID"] = lastEventID
    var request = sidecar.request("GET", "/v1/transcript" + query, headers: headers, timeout: .seconds(60))
    request.idleTimeout = .seconds(30)
    let response = try await CurlClient.shared.stream(request)
    try #require(response.status == 200)
    #expect(response.header("Content-Type") == "text/event-stream")
    var events: [ServerSentEvent] = []
    var pending: [UInt8] = []
    for try await part in response.body {
        pending += part
        while let end = pending.firstRange(of: Array("\n\n".utf8)) {
            var event = ServerSentEvent()
            for line in String(decoding: pending[..<end.lowerBound], as: UTF8.self).split(separator: "\n") {
                if line.hasPrefix("id: ") { event.id = String(line.dropFirst(4)) }
                if line.hasPrefix("event: ") { event.type = String(line.dropFirst(7)) }
                if line.hasPrefix("data: ") { event.data = String(line.dropFirst(6)) }
            }
            pending.removeSubrange(..<end.upperBound)
            if !event.type.isEmpty { events.append(event) }
        }
        if isEnough(events) { return events }
    }
    throw SidecarFailure("the stream ended after \(events.count) events")
}

private struct Page: Decodable {
    var events: [JSONValue]
    var next: Cursor
}

@Suite struct TranscriptTests {
    @Test func pageLinesAndStreamShowTheSameEventsUnderTheSameCursors() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            try await sidecar.enqueue("run: echo hi\nsay: ünïcödé \u{2028} line\nplan: a; b")
            try await sidecar.enqueue("think: 0 hmm")
            _ = try await sidecar.end(of: TurnID(2))
            let activity = try await sidecar.json(Activity.self, "GET", "/v1/activity")
            let end = activity.cursor

            let lines = try await sidecar.send("GET", "/v1/transcript", headers: ["Accept": "application/x-ndjson"]).body
                .split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
            let events = try lines.map { try JSON.decode(Event.self, from: $0) }
            #expect(events.map(\.sequence) == (1...UInt64(events.count)).map { $0 })
            #expect(events.last!.sequence >= end.sequence)

            let stream = try await follow(sidecar) { $0.count { $0.id != nil } >= lines.count }.filter { $0.id != nil }
            #expect(stream.map(\.data) == lines)
            #expect(stream.map(\.id) == events.map { Cursor(journal: activity.journal, sequence: $0.sequence).description })
            #expect(stream.map(\.type) == events.map(\.body.type))

            // Pages of three, each from where the one before ended.
            var paged: [JSONValue] = []
            var cursor: Cursor?
            repeat {
                let page = try await sidecar.json(
                    Page.self, "GET", "/v1/transcript?limit=3" + (cursor.map { "&after=\($0)" } ?? ""))
                #expect(page.events.count <= 3)
                paged += page.events
                if page.events.isEmpty { break }
                cursor = page.next
            } while paged.count <= lines.count
            #expect(paged == (try lines.map { try JSON.decode(JSONValue.self, from: $0) }))

            // The files hold the very lines.
            let folder = sidecar.home.state + "/transcript"
            let files = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
            let stored = try files.map { try String(contentsOfFile: "\(folder)/\($0)", encoding: .utf8) }.joined()
            for line in lines { #expect(stored.contains(line + "\n")) }
        }
    }

    @Test func aStreamContinuesAfterItsLastEvent() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            try await sidecar.enqueue("say: one")
            let first = try await follow(sidecar) { $0.contains { $0.type == "turn.ended" } }
            let last = try #require(first.last { $0.id != nil }?.id)
            async let second = follow(sidecar, lastEventID: last) { $0.contains { $0.type == "turn.ended" } }
            try await sidecar.enqueue("say: two")
            let rest = try await second.filter { $0.id != nil }
            let ids = (first.filter { $0.id != nil } + rest).compactMap { $0.id.flatMap { Cursor($0) }?.sequence }
            #expect(ids == (1...UInt64(ids.count)).map { $0 })
        }
    }

    @Test func liveDeltasCarryNoCursor() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            async let events = follow(sidecar) { $0.contains { $0.type == "turn.ended" } }
            try await sidecar.until {
                let text = String(decoding: try await sidecar.send("GET", "/metrics").body, as: UTF8.self)
                return text.contains("holdfast_sidecar_followers 1\n")
            }
            try await sidecar.enqueue("say-slowly: 0.3 one two three four five")
            let deltas = try await events.filter { $0.type == "delta" }
            #expect(!deltas.isEmpty)
            #expect(deltas.allSatisfy { $0.id == nil })
            let stored = try await sidecar.send("GET", "/v1/transcript", headers: ["Accept": "application/x-ndjson"]).body
            #expect(!String(decoding: stored, as: UTF8.self).contains("\"delta\":"))
        }
    }

    @Test func cursorsThatCannotBeServedAreErrors() async throws {
        try await SidecarProcess.with { sidecar in
            let end = try await sidecar.json(Activity.self, "GET", "/v1/activity").cursor
            for accept in ["application/json", "application/x-ndjson", "text/event-stream"] {
                func refusal(_ cursor: String) async throws -> Problem.Kind? {
                    try await problem(sidecar, "GET", "/v1/transcript?after=\(cursor)", headers: ["Accept": accept]).problem.kind
                }
                #expect(try await refusal("0123456789abcdef-1") == .cursorGone)
                #expect(try await refusal("\(end.journal)-\(end.sequence + 1000)") == .cursorGone)
                #expect(try await refusal("\(end.sequence + 1000)") == .cursorGone)
                for garbage in [
                    "x", "-1", "\(end.journal)-", "\(end.journal)--1", "\(end.journal)", "1e3", "99999999999999999999999",
                ] {
                    #expect(try await refusal(garbage) == .invalidRequest, "\(garbage)")
                }
                let answer = try await sidecar.send(
                    "GET", "/v1/transcript", headers: ["Accept": accept, "Last-Event-ID": "0123456789abcdef-1"])
                #expect(answer.status == 410)
            }
            for query in ["limit=0", "limit=10001", "limit=x", "turn=x", "turn=t0", "follow=perhaps", "follow=true"] {
                #expect(try await problem(sidecar, "GET", "/v1/transcript?\(query)").problem.kind == .invalidRequest, "\(query)")
            }
        }
    }

    @Test func oneTurnOnly() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            try await sidecar.enqueue("say: one")
            try await sidecar.enqueue("say: two")
            _ = try await sidecar.end(of: TurnID(2))
            let all = try await sidecar.events().filter { $0.turn == TurnID(2) }.map(\.sequence)
            let page = try await sidecar.json(Page.self, "GET", "/v1/transcript?turn=t2")
            #expect(page.events.compactMap { $0["seq"]?.integer } == all.map { Int64($0) })
            let stream = try await follow(sidecar, "?turn=t2") { $0.contains { $0.type == "turn.ended" } }
            #expect(stream.filter { $0.id != nil }.count == all.count)
        }
    }

    @Test func aLongEventGoesToABlobAndKeepsItsEnds() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            try await sidecar.enqueue("run: echo BEGIN; head -c 600000 /dev/zero | tr '\\0' x; echo END")
            #expect(try await sidecar.end(of: TurnID(1)).state == .succeeded)
            let page = try await sidecar.json(Page.self, "GET", "/v1/transcript?turn=t1")
            for event in page.events {
                let line = try JSON.string(event)
                #expect(line.utf8.count < 300 << 10)
                guard let blob = event["blob"]?.string else { continue }
                let data = try Data(contentsOf: URL(filePath: "\(sidecar.home.state)/blobs/\(blob)"))
                #expect(data.count > 256 << 10)
            }
        }
    }

    @Test func aHalfClosedClientStillGetsTheWhole() async throws {
        try await SidecarProcess.with { sidecar in
            for number in 1...50 { try await sidecar.enqueue("\(number) " + String(repeating: "x", count: 20_000)) }
            let socket = sidecar.home.socket
            let text = try await blocking {
                let connection = try RawConnection(socket: socket)
                connection.send(
                    "GET /v1/transcript HTTP/1.1\r\nHost: s\r\nConnection: close\r\nAccept: application/x-ndjson\r\n\r\n")
                connection.finishSending()
                return try connection.read()
            }
            #expect(text.contains("\"50 xxx"))
            #expect(text.hasSuffix("0\r\n\r\n"))
        }
    }
}

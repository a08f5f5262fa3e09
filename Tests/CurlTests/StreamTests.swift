import Curl
import Foundation
import Support
import TLSServer
import Testing

/// Bodies that are read while they arrive. One after the other, because memory is measured.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct StreamTests {
    @Test func aBodyStreamsAsItArrives() async throws {
        let gates = (0..<3).map { _ in Gate() }
        let server = try LoopbackServer { _, connection in
            try connection.beginChunks()
            for (index, gate) in gates.enumerated() {
                gate.wait()
                try connection.chunk("part \(index)")
            }
            try connection.endChunks()
        }
        defer { server.stop() }
        // Each part is sent only after the one before it has been read: without real streaming this would not end.
        let response = try await CurlClient.shared.stream(CurlRequest("GET", server.url, timeout: .seconds(30)))
        var body = response.body.makeAsyncIterator()
        for (index, gate) in gates.enumerated() {
            gate.open()
            let chunk = try await body.next()
            #expect(chunk.map { String(decoding: $0, as: UTF8.self) } == "part \(index)")
        }
        #expect(try await body.next() == nil)
        #expect(try await body.next() == nil)
    }

    @Test func aGigabyteGoesThroughInLittleMemory() async throws {
        let sent = Counter()
        let block = [UInt8](repeating: 65, count: 64 << 10)
        let total = 1 << 30
        let server = try LoopbackServer { _, connection in
            try connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(total)\r\n\r\n")
            while sent.value < total {
                try connection.send(block)
                sent.add(block.count)
            }
        }
        defer { server.stop() }
        let before = residentBytes()
        let response = try await CurlClient.shared.stream(CurlRequest("GET", server.url, timeout: nil))
        var read = 0
        var most = 0
        for try await chunk in response.body {
            read += chunk.count
            // What is on the way is bounded by the client's buffer, libcurl's, and the two sockets' of the kernel.
            most = max(most, sent.value - read)
            #expect(chunk.count <= 320 << 10)
        }
        #expect(read == total)
        #expect(most < 16 << 20)
        // Other tests of this process need memory meanwhile; what is kept would be a thousand megabytes.
        #expect(residentBytes() - before < 256 << 20)
    }

    @Test func whoStopsReadingStopsTheServer() async throws {
        let sent = Counter()
        let server = try LoopbackServer { _, connection in
            try connection.beginChunks()
            let chunk = String(repeating: "x", count: 64 << 10)
            while true {
                try connection.chunk(chunk)
                sent.add(chunk.utf8.count)
            }
        }
        defer { server.stop() }
        let response = try await CurlClient.shared.stream(CurlRequest("GET", server.url, timeout: nil))
        // Nobody reads: the kernel's socket buffers fill up, and then the server cannot send.
        var last = -1
        while sent.value == 0 || sent.value != last {
            last = sent.value
            try await Task.sleep(for: .milliseconds(200))
        }
        #expect(last < 32 << 20)
        var body = response.body.makeAsyncIterator()
        var read = 0
        while read < 4 * last, let chunk = try await body.next() { read += chunk.count }
        #expect(read >= 4 * last, "reading again makes it go on")
    }

    @Test(arguments: [true, false])
    func whoStopsReadingStopsTheServerAndNobodyElse(http2: Bool) async throws {
        var options = TLSServer.Options()
        options.http2 = http2
        let sent = Counter()
        let server = try TLSServer(authority: TestAuthority(), options: options) { request, exchange in
            guard request.path == "/flood" else { return exchange.respond(200, "quick") }
            Thread.detachNewThread {
                exchange.begin(200)
                let block = [UInt8](repeating: 120, count: 64 << 10)
                while (try? exchange.sendAndWait(block)) != nil { sent.add(block.count) }
            }
        }
        defer { server.stop() }
        let client = CurlClient()
        var flood = request(server.url + "/flood", trusting: server.authority)
        flood.timeout = nil
        let response = try await client.stream(flood)
        var last = -1
        while sent.value == 0 || sent.value != last {
            last = sent.value
            try await Task.sleep(for: .milliseconds(300))
        }
        #expect(last < 48 << 20, "HTTP/2's window bounds what is on its way")
        // Others go on beside it, with HTTP/2 on the same connection.
        #expect(try await client.execute(request(server.url + "/quick", trusting: server.authority)).status == 200)
        #expect(server.accepted == (http2 ? 1 : 2))
        var body = response.body.makeAsyncIterator()
        var read = 0
        while read < 3 * last, let chunk = try await body.next() { read += chunk.count }
        #expect(read >= 3 * last, "reading again makes it go on")
        await client.shutdown()
    }

    @Test func cancellingTheTaskEndsTheRequestAtOnce() async throws {
        for path in ["/head", "/stream"] {
            let arrived = Gate()
            let left = Gate()
            let server = try LoopbackServer { request, connection in
                if request.path == "/stream" { try connection.beginChunks() }
                arrived.open()
                connection.waitForClientToLeave()
                left.open()
            }
            defer { server.stop() }
            let url = server.url + path
            let work = Task {
                let response = try await CurlClient.shared.stream(CurlRequest("GET", url, timeout: nil))
                for try await _ in response.body {}
            }
            await offThread { arrived.wait() }
            work.cancel()
            guard case .failure(let error) = await work.result else {
                Issue.record("it must not succeed")
                continue
            }
            #expect((error as? CurlError)?.code == .cancelled)
            await offThread { left.wait() }
        }
    }

    @Test func aCancelledTaskSendsNothing() async throws {
        let server = try LoopbackServer { _, connection in try connection.respond() }
        defer { server.stop() }
        let url = server.url
        let client = CurlClient()
        let work = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await client.execute(CurlRequest("GET", url)).status
        }
        guard case .failure(let error) = await work.result else {
            Issue.record("it must not succeed")
            return
        }
        #expect((error as? CurlError)?.code == .cancelled)
        await client.shutdown()
        #expect(server.accepted == 0)
    }

    @Test func lettingGoOfTheBodyEndsTheTransfer() async throws {
        let left = (0..<3).map { _ in Gate() }
        let server = try LoopbackServer { request, connection in
            try connection.beginChunks()
            try connection.chunk("x")
            connection.waitForClientToLeave()
            left[Int(request.query)!].open()
        }
        defer { server.stop() }
        // Unread.
        _ = try await CurlClient.shared.stream(CurlRequest("GET", server.url + "?0", timeout: nil))
        await offThread { left[0].wait() }
        // Left in the middle, while the response itself is still there.
        let response = try await CurlClient.shared.stream(CurlRequest("GET", server.url + "?1", timeout: nil))
        for try await _ in response.body { break }
        await offThread { left[1].wait() }
        // A second iterator gets nothing.
        let again = try await CurlClient.shared.stream(CurlRequest("GET", server.url + "?2", timeout: nil))
        var first: CurlBody.Iterator? = again.body.makeAsyncIterator()
        var second = again.body.makeAsyncIterator()
        #expect(await failure { try await second.next() }?.code == .invalidRequest)
        #expect(try await first?.next() == [120])
        first = nil
        await offThread { left[2].wait() }
    }

    @Test func aPausedReaderIsNotIdle() async throws {
        let server = try LoopbackServer { _, connection in
            try connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(64 << 20)\r\n\r\n")
            try connection.send([UInt8](repeating: 1, count: 64 << 20))
        }
        defer { server.stop() }
        var request = CurlRequest("GET", server.url, timeout: nil)
        request.idleTimeout = .milliseconds(500)
        var body = try await CurlClient.shared.stream(request).body.makeAsyncIterator()
        var read = try await body.next()?.count ?? 0
        // The reader is slower than the timeout: that is its own affair, not the server's.
        try await Task.sleep(for: .milliseconds(1200))
        while let chunk = try await body.next() { read += chunk.count }
        #expect(read == 64 << 20)
    }
}

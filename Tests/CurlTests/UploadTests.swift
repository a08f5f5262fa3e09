import Curl
import Foundation
import Support
import TLSServer
import Testing

/// Bodies that are made while they are sent. One after the other, because memory is measured.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct UploadTests {
    @Test(arguments: [nil, 9] as [Int64?])
    func aBodyIsSentAsItIsWritten(length: Int64?) async throws {
        let arrived = (0..<3).map { _ in Gate() }
        let server = try LoopbackServer(streamsBodies: true) { request, connection in
            let how = request.headers["content-length"] ?? request.headers["transfer-encoding"] ?? "-"
            var whole: [UInt8] = []
            for gate in arrived {
                let next = whole.count + 3
                while whole.count < next, let bytes = try connection.readBody() { whole += bytes }
                gate.open()
            }
            guard try connection.readBody() == nil else { return }
            try connection.respond(200, "\(request.method) \(how) \(String(decoding: whole, as: UTF8.self))")
        }
        defer { server.stop() }
        var request = CurlRequest("PUT", server.url)
        // Each part is written only when the one before it has arrived: without real streaming this would not end.
        request.upload = CurlUpload(length: length) { writer in
            for (index, gate) in arrived.enumerated() {
                try await writer.write(Array("p\(index);".utf8))
                await offThread { gate.wait() }
            }
        }
        let answer = try await CurlClient.shared.execute(request)
        #expect(String(decoding: answer.body, as: UTF8.self) == "PUT \(length.map { "\($0)" } ?? "chunked") p0;p1;p2;")
    }

    @Test func aGigabyteGoesOutInLittleMemory() async throws {
        let total = 1 << 30
        let server = try LoopbackServer(streamsBodies: true) { _, connection in
            var count = 0
            while let bytes = try connection.readBody() { count += bytes.count }
            try connection.respond(200, "\(count)")
        }
        defer { server.stop() }
        let before = residentBytes()
        var request = CurlRequest("POST", server.url, timeout: nil)
        request.upload = CurlUpload(length: Int64(total)) { writer in
            let block = [UInt8](repeating: 65, count: 64 << 10)
            for _ in 0..<(total / block.count) { try await writer.write(block) }
        }
        let answer = try await CurlClient.shared.execute(request)
        #expect(String(decoding: answer.body, as: UTF8.self) == "\(total)")
        // Other tests of this process need memory meanwhile; what is kept would be a thousand megabytes.
        #expect(residentBytes() - before < 256 << 20)
    }

    @Test func aServerThatTakesNothingMakesTheWriterWait() async throws {
        let written = Counter()
        let go = Gate()
        let server = try LoopbackServer(streamsBodies: true) { _, connection in
            go.wait()
            while try connection.readBody() != nil {}
            try connection.respond(200)
        }
        defer { server.stop() }
        var upload = CurlRequest("POST", server.url, timeout: nil)
        upload.upload = CurlUpload { writer in
            for _ in 0..<1024 {
                try await writer.write([UInt8](repeating: 65, count: 64 << 10))
                written.add(64 << 10)
            }
        }
        let request = upload
        let answer = Task { try await CurlClient.shared.execute(request).status }
        var last = -1
        while written.value == 0 || written.value != last {
            last = written.value
            try await Task.sleep(for: .milliseconds(200))
        }
        #expect(last < 32 << 20, "the kernel's buffers and our own")
        go.open()
        #expect(try await answer.value == 200)
        #expect(written.value == 64 << 20)
    }

    /// Both directions at once, each paused and resumed by the other side.
    @Test(arguments: [true, false])
    func anEchoGoesBothWaysAtOnce(http2: Bool) async throws {
        let total = 32 << 20
        let server = try LoopbackServer(streamsBodies: true) { _, connection in
            try connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(total)\r\n\r\n")
            while let bytes = try connection.readBody() { try connection.send(bytes) }
        }
        defer { server.stop() }
        var request = CurlRequest("POST", server.url, timeout: nil)
        request.http2 = http2
        request.upload = CurlUpload { writer in
            for index in 0..<(total >> 14) { try await writer.write([UInt8](repeating: UInt8(index & 255), count: 1 << 14)) }
        }
        var count = 0
        var isSame = true
        for try await bytes in try await CurlClient.shared.stream(request).body {
            for (offset, byte) in bytes.enumerated() where byte != UInt8(((count + offset) >> 14) & 255) { isSame = false }
            count += bytes.count
        }
        #expect(count == total && isSame)
    }

    @Test func overHTTP2ItIsSentAsWell() async throws {
        let server = try TLSServer(authority: TestAuthority()) { request, exchange in
            exchange.respond(200, "\(request.isHTTP2) \(request.body.count)")
        }
        defer { server.stop() }
        var upload = request(server.url, trusting: server.authority)
        upload.method = "POST"
        upload.upload = CurlUpload { writer in
            for _ in 0..<64 {
                try await writer.write([UInt8](repeating: 1, count: 100_000))
                await Task.yield()
            }
        }
        let answer = try await CurlClient.shared.execute(upload)
        #expect(String(decoding: answer.body, as: UTF8.self) == "true 6400000")
    }

    @Test func aWriterThatFailsCutsTheBodyOff() async throws {
        struct Trouble: Error {}
        for length in [nil, 1000] as [Int64?] {
            let arrived = Gate()
            let cut = Gate()
            let server = try LoopbackServer(streamsBodies: true) { _, connection in
                do {
                    while try connection.readBody() != nil { arrived.open() }
                    try connection.respond(200, "whole")
                } catch {
                    cut.open()
                }
            }
            defer { server.stop() }
            var request = CurlRequest("POST", server.url)
            request.upload = CurlUpload(length: length) { writer in
                try await writer.write([1, 2, 3])
                await offThread { arrived.wait() }
                throw Trouble()
            }
            let error = await failure { [request] in try await CurlClient.shared.execute(request) }
            #expect(error?.code == .upload)
            #expect(await offThread { cut.isOpen(within: 30) }, "the server sees that it is cut off")
        }
    }

    @Test func anotherLengthThanAnnouncedIsAnError() async throws {
        let server = try LoopbackServer(streamsBodies: true) { _, connection in
            while try connection.readBody() != nil {}
            try connection.respond(200)
        }
        defer { server.stop() }
        for count in [1, 3] {
            var request = CurlRequest("POST", server.url)
            request.upload = CurlUpload(length: 2) { try await $0.write([UInt8](repeating: 0, count: count)) }
            let error = await failure { [request] in try await CurlClient.shared.execute(request) }
            #expect(error?.code == .upload, "\(error?.message ?? "")")
        }
    }

    @Test func anAnswerBeforeTheEndOfTheBodyEndsTheWriter() async throws {
        let server = try LoopbackServer(streamsBodies: true) { _, connection in
            try connection.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            connection.close()
        }
        defer { server.stop() }
        let ended = Gate()
        var request = CurlRequest("POST", server.url)
        request.upload = CurlUpload { writer in
            defer { ended.open() }
            while true { try await writer.write([UInt8](repeating: 0, count: 1 << 10)) }
        }
        // Whether the answer or the reset connection is seen first, the writer ends.
        _ = try? await CurlClient.shared.execute(request)
        #expect(await offThread { ended.isOpen(within: 30) }, "the writer is told")
    }

    @Test func cancellingTheTaskEndsTheWriter() async throws {
        let arrived = Gate()
        let ended = Gate()
        let server = try LoopbackServer(streamsBodies: true) { _, connection in
            _ = try connection.readBody()
            arrived.open()
            connection.waitForClientToLeave()
        }
        defer { server.stop() }
        var upload = CurlRequest("POST", server.url, timeout: nil)
        upload.upload = CurlUpload { writer in
            defer { ended.open() }
            while true { try await writer.write([UInt8](repeating: 0, count: 64 << 10)) }
        }
        let request = upload
        let work = Task { try await CurlClient.shared.execute(request) }
        await offThread { arrived.wait() }
        work.cancel()
        #expect(await offThread { ended.isOpen(within: 30) }, "the writer is told")
        #expect(await failure { try await work.value }?.code == .cancelled)
    }

    @Test func aSlowWriterIsNotIdleAndASilentServerIs() async throws {
        let server = try LoopbackServer(streamsBodies: true) { request, connection in
            while try connection.readBody() != nil {}
            if request.path == "/silent" { return connection.waitForClientToLeave() }
            try connection.respond(200)
        }
        defer { server.stop() }
        var request = CurlRequest("POST", server.url, timeout: nil)
        request.idleTimeout = .milliseconds(300)
        request.upload = CurlUpload { writer in
            try await writer.write([1])
            try await Task.sleep(for: .milliseconds(900))
            try await writer.write([2])
        }
        #expect(try await CurlClient.shared.execute(request).status == 200)
        request.url += "/silent"
        let error = await failure { [request] in try await CurlClient.shared.execute(request) }
        #expect(error?.code == .timeout)
    }
}

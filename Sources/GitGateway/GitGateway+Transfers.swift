import Curl
import HTTPServing
import HTTPTypes
import Hummingbird
import Logging
import NIOConcurrencyHelpers
import NIOCore
import SessionModel

extension GitGateway {
    /// A fetch's own request, its negotiation, is small. One that is not is sent on as it comes.
    private static let smallBody = 64 << 10
    /// What the forge says of a push, with its progress.
    private static let longestReport = 256 << 10

    func advertise(_ call: Call, _ request: GitRequest, _ access: Access) async throws(Refusal) -> Response {
        let names = ["Git-Protocol", "Accept", "Accept-Encoding", "User-Agent"]
        let upstream = try await forge.send(
            "GET", "/info/refs?service=\(request.service.rawValue)", for: access, headers: Forge.headers(of: call, names))
        return passThrough(upstream)
    }

    func fetch(_ call: Call, _ access: Access) async throws(Refusal) -> Response {
        let started = ContinuousClock.now
        let names = ["Git-Protocol", "Content-Type", "Content-Encoding", "Accept", "Accept-Encoding", "User-Agent"]
        let headers = Forge.headers(of: call, names)
        let sent = NIOLockedValueBox<Int64>(0)
        let length = call.header("Content-Length").flatMap { Int64($0) }
        let upstream: CurlStreamedResponse
        if let length, length <= Self.smallBody {
            let body: [UInt8]
            do {
                body = Array(try await call.body(upTo: Self.smallBody).readableBytesView)
            } catch {
                throw Refusal(400, "The request broke off.")
            }
            upstream = try await forge.send("POST", "/git-upload-pack", for: access, headers: headers, body: body)
            // Asking for the refs fetches nothing.
            if body.dropFirst(4).starts(with: "command=ls-refs".utf8) { return passThrough(upstream) }
            sent.withLockedValue { $0 = length }
        } else {
            let body = call.request.body
            let upload = CurlUpload(length: length) { writer in
                for try await part in body {
                    sent.withLockedValue { $0 += Int64(part.readableBytes) }
                    try await writer.write(Array(part.readableBytesView))
                }
            }
            upstream = try await forge.send("POST", "/git-upload-pack", for: access, headers: headers, upload: upload)
        }
        return passThrough(upstream) { received, error, _ in
            await finish(
                access,
                GitTransfer(
                    operation: .fetch, outcome: error == nil ? .ok : .failed, message: error,
                    sentBytes: sent.withLockedValue(\.self), receivedBytes: received, milliseconds: started.elapsedMilliseconds))
        }
    }

    func push(_ call: Call, _ access: Access) async throws(Refusal) -> Response {
        let started = ContinuousClock.now
        guard call.header("Content-Encoding") == nil else {
            throw Refusal(415, "A push is not taken compressed: its commands have to be read.")
        }
        let body = RequestParts(call.request.body)
        let (request, head) = try await readCommands(body)
        let reasons = try await refusals(of: request, access)
        if !reasons.isEmpty {
            var dropped = Int64(head.count)
            // git reads the answer when it has sent everything.
            while let part = try? await body.next() { dropped += Int64(part.readableBytes) }
            let updates = request.commands.map { command in
                GitRefUpdate(command, .refused(reasons[command.ref] ?? "refused with the other refs of this push"))
            }
            await finish(
                access,
                GitTransfer(
                    operation: .push, outcome: .refused, refs: updates, sentBytes: dropped,
                    milliseconds: started.elapsedMilliseconds))
            guard request.wantsReport else {
                throw Refusal(403, "Nothing was pushed: \(reasons.values.sorted().joined(separator: "; ")).")
            }
            let hint = "Holdfast: nothing was pushed; the git gateway lets only this session's refs through."
            return .bytes(
                PushReport.refusal(of: request, reasons: reasons, hint: hint), type: "application/x-git-receive-pack-result",
                headers: [.cacheControl: "no-cache"])
        }

        do {
            try await announce(access.name, request.commands.filter { !$0.isDeletion }.map(\.new))
        } catch {
            logger.error("a push cannot be announced", metadata: ["error": "\(error)"])
            throw Refusal(503, "The push cannot be recorded at the moment; try again.")
        }
        let sent = NIOLockedValueBox<Int64>(0)
        let length = call.header("Content-Length").flatMap { Int64($0) }
        let upload = CurlUpload(length: length) { writer in
            sent.withLockedValue { $0 = Int64(head.count) }
            try await writer.write(head)
            while let part = try await body.next() {
                sent.withLockedValue { $0 += Int64(part.readableBytes) }
                try await writer.write(Array(part.readableBytesView))
            }
        }
        @Sendable func transfer(
            _ outcome: GitTransfer.Outcome, _ updates: [GitRefUpdate], _ message: String?, _ received: Int64
        ) -> GitTransfer {
            GitTransfer(
                operation: .push, outcome: outcome, refs: updates, message: message, sentBytes: sent.withLockedValue(\.self),
                receivedBytes: received, milliseconds: started.elapsedMilliseconds)
        }
        let headers = Forge.headers(of: call, ["Git-Protocol", "Content-Type", "Accept", "User-Agent"])
        let upstream: CurlStreamedResponse
        do {
            upstream = try await forge.send("POST", "/git-receive-pack", for: access, headers: headers, upload: upload)
        } catch {
            let updates = request.commands.map { GitRefUpdate($0, .refused("not known: the push broke off")) }
            if !updates.isEmpty { await finish(access, transfer(.failed, updates, error.text, 0)) }
            throw error
        }
        // By the request without commands git only asks whether it may push.
        guard !request.commands.isEmpty else { return passThrough(upstream) }
        return passThrough(upstream, keeping: Self.longestReport) { received, error, beginning in
            let results = PushReport.results(beginning, sideBand: request.hasSideBand)
            let updates = request.commands.map { command in
                GitRefUpdate(command, results?[command.ref] ?? .refused("not known: the forge did not say"))
            }
            let outcome: GitTransfer.Outcome = updates.allSatisfy { $0.refused == nil } ? .ok : .failed
            await finish(access, transfer(outcome, updates, error, received))
        }
    }

    // MARK: What a push may do

    private func readCommands(
        _ body: RequestParts
    ) async throws(Refusal) -> (request: PushRequest, head: [UInt8]) {
        var parser = PushRequestParser()
        do {
            while let part = try await body.next() {
                if let request = try parser.feed(part.readableBytesView) { return (request, parser.bytes) }
            }
            throw Refusal(400, "The push ended before its list of refs did.")
        } catch let error as MalformedPacket {
            throw Refusal(400, "This push cannot be read: \(error).")
        } catch let refusal as Refusal {
            throw refusal
        } catch {
            throw Refusal(400, "The request broke off.")
        }
    }

    /// Why refs of a push are refused, by ref; empty when it may go on.
    private func refusals(of request: PushRequest, _ access: Access) async throws(Refusal) -> [String: String] {
        guard !request.commands.isEmpty else { return [:] }
        let rules = access.grant.push
        func refusals(_ defaultBranch: String?) -> [String: String] {
            var reasons: [String: String] = [:]
            for command in request.commands {
                reasons[command.ref] =
                    request.capabilities.contains("push-options")
                    ? "push options are not taken" : rules.refusal(of: command, defaultBranch: defaultBranch)
            }
            return reasons
        }
        let reasons = refusals(nil)
        // The forge is asked for its default branch only when nothing else is in the way.
        return reasons.isEmpty ? refusals(try await defaultBranch(access)) : reasons
    }

    /// What HEAD of the repository names, from the first line of its refs; nil for a repository without a commit.
    private func defaultBranch(_ access: Access) async throws(Refusal) -> String? {
        let upstream = try await forge.send(
            "GET", "/info/refs?service=git-upload-pack", for: access, headers: [("User-Agent", "git/holdfast")])
        var reader = PacketReader()
        do {
            for try await chunk in upstream.body {
                reader.append(chunk)
                while let packet = try reader.next() {
                    // `# service=…` and a flush come first.
                    guard case .data(let line) = packet, let zero = line.firstIndex(of: 0) else { continue }
                    let words = line[(zero + 1)...].split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }
                    let head = words.map { String(decoding: $0, as: UTF8.self) }.first { $0.hasPrefix("symref=HEAD:refs/heads/") }
                    return head.map { String($0.dropFirst("symref=HEAD:refs/heads/".count)) }
                }
            }
        } catch let error as MalformedPacket {
            throw Refusal(502, "The forge's refs cannot be read: \(error).")
        } catch {
            throw Refusal(502, "The forge's refs cannot be read: \(error).")
        }
        throw Refusal(502, "The forge's refs cannot be read: there are none, not even of an empty repository.")
    }
}

// MARK: - Passing on

extension GitGateway {
    /// The forge's answer, as it comes.
    /// - Parameters:
    ///   - keeping: how much of its beginning is kept.
    ///   - finished: told of its length, of the error that cut it off, and of its beginning.
    private func passThrough(
        _ upstream: CurlStreamedResponse, keeping: Int = 0,
        finished: @escaping @Sendable (_ received: Int64, _ error: String?, _ beginning: [UInt8]) async -> Void = { _, _, _ in }
    ) -> Response {
        var headers: HTTPFields = [:]
        for name: HTTPField.Name in [.contentType, .contentEncoding, .cacheControl, .expires] {
            headers[name] = upstream.header(name.rawName)
        }
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody { writer in
                var received: Int64 = 0
                var beginning: [UInt8] = []
                do {
                    for try await chunk in upstream.body {
                        received += Int64(chunk.count)
                        beginning += chunk.prefix(max(0, keeping - beginning.count))
                        try await writer.write(ByteBuffer(bytes: chunk))
                    }
                } catch {
                    await finished(received, "the answer broke off: \(error)", beginning)
                    throw error
                }
                // Before its end is sent: when git has ended, its push has been told of.
                await finished(received, nil, beginning)
                try await writer.finish(nil)
            })
    }
}

/// A request's body. One task at a time reads it: the one that reads the commands, and then the one that sends the rest.
private final class RequestParts: @unchecked Sendable {
    private var iterator: RequestBody.AsyncIterator

    init(_ body: RequestBody) { iterator = body.makeAsyncIterator() }

    func next() async throws -> ByteBuffer? { try await iterator.next() }
}

extension GitRefUpdate {
    fileprivate init(_ command: PushRequest.Command, _ result: Result) {
        func object(_ name: String) -> String? { name.allSatisfy { $0 == "0" } ? nil : name }
        self.init(ref: command.ref, old: object(command.old), new: object(command.new), result: result)
    }
}

extension ContinuousClock.Instant {
    fileprivate var elapsedMilliseconds: Int64 {
        let (seconds, attoseconds) = (ContinuousClock.now - self).components
        return seconds * 1000 + attoseconds / 1_000_000_000_000_000
    }
}

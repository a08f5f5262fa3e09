import Foundation
import NIOConcurrencyHelpers

/// A forge for git alone: the real `git http-backend` behind HTTP Basic credentials, on loopback.
public final class GitBackend: Sendable {
    /// What a client asked for, in order: `GET /acme/widgets.git/info/refs?service=git-upload-pack`.
    public var requests: [String] { state.withLockedValue { $0.requests } }
    /// The password that is demanded. A change holds from the next request on.
    public var token: String {
        get { state.withLockedValue { $0.token } }
        set { state.withLockedValue { $0.token = newValue } }
    }
    public var url: String { server.url }

    /// Where repositories are that were renamed, by where they were: `/acme/widgets.git`.
    public var moved: [String: String] {
        get { state.withLockedValue { $0.moved } }
        set { state.withLockedValue { $0.moved = newValue } }
    }

    private struct State {
        var token: String
        var moved: [String: String] = [:]
        var requests: [String] = []
    }
    private let state: NIOLockedValueBox<State>
    private let server: LoopbackServer

    /// - Parameters:
    ///   - root: the directory of the repositories; `ROOT/acme/widgets.git` is at `/acme/widgets.git`.
    ///   - port: 0 for a free one.
    public init(root: String, token: String, port: UInt16 = 0) throws {
        let state = NIOLockedValueBox(State(token: token))
        self.state = state
        server = try LoopbackServer(port: port, streamsBodies: true) { request, connection in
            let query = request.query.isEmpty ? "" : "?\(request.query)"
            let (token, moved) = state.withLockedValue { state in
                state.requests.append("\(request.method) \(request.path)\(query)")
                return (state.token, state.moved.first { request.path.hasPrefix($0.key + "/") })
            }
            if let moved {
                let rest = request.path.dropFirst(moved.key.count)
                let place = "http://\(request.headers["host"] ?? "")\(moved.value)\(rest)\(query)"
                return try connection.respond(301, "", headers: ["Location": place])
            }
            let credential = request.headers["authorization"].flatMap { $0.hasPrefix("Basic ") ? $0.dropFirst(6) : nil }
                .flatMap { Data(base64Encoded: String($0)) }.map { String(decoding: $0, as: UTF8.self) }
            guard let credential, credential.split(separator: ":", maxSplits: 1).last.map(String.init) == token else {
                return try connection.respond(
                    401, "Bad credentials\n", type: "text/plain", headers: ["WWW-Authenticate": "Basic realm=\"forge\""])
            }
            try Self.answer(request, connection, root: root)
        }
    }

    public func stop() { server.stop() }

    /// CGI, as git has it: the body goes in as it comes, and the answer goes out as it comes.
    private static func answer(
        _ request: LoopbackServer.Request, _ connection: LoopbackServer.Connection, root: String
    ) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["git", "-c", "http.receivepack=true", "http-backend"]
        var environment = [
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": root, "GIT_CONFIG_NOSYSTEM": "1", "GIT_PROJECT_ROOT": root,
            "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": request.path, "QUERY_STRING": request.query,
            "REQUEST_METHOD": request.method, "REMOTE_USER": "holdfast", "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": request.headers["content-type"] ?? "",
        ]
        environment["CONTENT_LENGTH"] = request.headers["content-length"]
        environment["HTTP_CONTENT_ENCODING"] = request.headers["content-encoding"]
        environment["GIT_PROTOCOL"] = request.headers["git-protocol"]
        process.environment = environment
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let feed = DispatchGroup()
        // A thread of its own: Dispatch's are bounded, and this one blocks.
        feed.enter()
        Foundation.Thread.detachNewThread {
            defer { feed.leave() }
            while let bytes = try? connection.readBody() { try? input.fileHandleForWriting.write(contentsOf: Data(bytes)) }
            try? input.fileHandleForWriting.close()
        }
        defer {
            process.waitUntilExit()
            feed.wait()
        }
        var buffer = Data()
        var headEnd: Range<Data.Index>?
        while headEnd == nil {
            let part = output.fileHandleForReading.availableData
            if part.isEmpty { break }
            buffer += part
            headEnd = buffer.firstRange(of: Data("\r\n\r\n".utf8))
        }
        guard let headEnd else { return try connection.respond(500, "git http-backend said nothing\n", type: "text/plain") }
        var lines = String(decoding: buffer[..<headEnd.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
        let status = lines.first { $0.hasPrefix("Status: ") }.map { String($0.dropFirst(8)) } ?? "200 OK"
        lines.removeAll { $0.hasPrefix("Status: ") }
        try connection.send("HTTP/1.1 \(status)\r\n\(lines.map { $0 + "\r\n" }.joined())Transfer-Encoding: chunked\r\n\r\n")
        func chunk(_ bytes: Data) throws {
            guard !bytes.isEmpty else { return }
            try connection.send(Array("\(String(bytes.count, radix: 16))\r\n".utf8) + Array(bytes) + Array("\r\n".utf8))
        }
        try chunk(buffer[headEnd.upperBound...])
        while true {
            let part = output.fileHandleForReading.availableData
            if part.isEmpty { break }
            try chunk(part)
        }
        try connection.endChunks()
    }
}

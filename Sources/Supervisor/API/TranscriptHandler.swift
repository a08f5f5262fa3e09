import Curl
import Foundation
import HTTPServing
import HTTPTypes
import Hummingbird
import Journal
import NIOCore
import SessionModel
import TranscriptServing

extension SupervisorAPI {
    /// A living session's transcript is passed through from its sidecar, byte for byte; a stopped one's is read from its files.
    func transcript(_ call: Call) async throws -> Response {
        let name = try await name(call)
        guard let session = try await store.read({ try $0.session(named: name) }) else {
            throw Self.missing("Session", name)
        }
        if let client = await sidecar(name), let response = try await passThrough(call, client) { return response }
        return try await stored(call, session)
    }

    /// - Returns: nil when the sidecar does not answer, so that the files have to do.
    private func passThrough(_ call: Call, _ client: SidecarClient) async throws -> Response? {
        var path = "/v1/transcript"
        if let query = call.request.uri.query { path += "?\(query)" }
        var headers: [(String, String)] = []
        for name in ["Accept", "Last-Event-ID"] {
            if let value = call.header(name) { headers.append((name, value)) }
        }
        guard let upstream = try? await client.stream(path, headers: headers) else { return nil }
        let type = upstream.header("Content-Type") ?? "application/json"
        guard upstream.status == 200 else {
            var bytes: [UInt8] = []
            for try await chunk in upstream.body where bytes.count < 64 << 10 { bytes += chunk }
            return .bytes(bytes, type: type, status: .init(code: upstream.status))
        }
        let follows = type == "text/event-stream" || call.query("follow") == "true"
        return call.stream(type: type, follows: follows) { writer in
            for try await chunk in upstream.body { try await writer.write(ByteBuffer(bytes: chunk)) }
        }
    }

    /// The same answers as a sidecar's, of a session that has none. There is nothing to follow.
    private func stored(_ call: Call, _ session: SessionResource) async throws -> Response {
        let response: Response?
        switch try await runtime.transcript(of: session) {
        case .files(let state): response = try await call.storedTranscript(state: state)
        case .reader(let client): response = try await passThrough(call, client)
        case nil: response = nil
        }
        guard let response else {
            throw Problem(.notFound, "Session \(session.spec.key) has no transcript yet: no sidecar has run for it.")
        }
        return response
    }
}

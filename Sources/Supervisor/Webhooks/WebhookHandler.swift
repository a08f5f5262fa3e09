import Foundation
import GitHub
import HTTPServing
import HTTPTypes
import Hummingbird
import NIOConcurrencyHelpers
import NIOCore
import SessionModel

/// `POST /v1/webhooks/github`: takes a delivery once it is sure whose it is, and acknowledges it once it is on the disk. What it means
/// is decided later.
struct WebhookHandler: Sendable {
    /// GitHub sends no larger ones.
    static let maxBody = 25 << 20
    /// Of all deliveries that are being read at a time. Nobody has proved anything until the whole body is here.
    private static let maxReading = 100 << 20

    let store: any ForgeStore
    let secretFile: String
    let onDelivery: @Sendable () -> Void
    private let reading = NIOLockedValueBox(0)

    /// - Parameter onDelivery: told when there is something to do.
    init(store: any ForgeStore, secretFile: String, onDelivery: @escaping @Sendable () -> Void) {
        self.store = store
        self.secretFile = secretFile
        self.onDelivery = onDelivery
    }

    func receive(_ call: Call) async throws -> Response {
        guard let length = call.header("Content-Length").flatMap({ Int($0) }), length >= 0 else {
            throw Problem(.invalidRequest, "A delivery has a Content-Length.")
        }
        let reserved = min(length, Self.maxBody)
        let fits = reading.withLockedValue { reading in
            guard reading + reserved <= Self.maxReading else { return false }
            reading += reserved
            return true
        }
        guard fits else { throw Problem(.notReady, "Too much is being delivered at this moment.", retryAfter: 5) }
        defer { reading.withLockedValue { $0 -= reserved } }
        let body = Data(buffer: try await call.body(upTo: Self.maxBody))

        let secretFile = secretFile
        let secret =
            await offLoop { FileManager.default.contents(atPath: secretFile) }
            .map { String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .newlines) } ?? ""
        guard !secret.isEmpty else {
            throw Problem(.notReady, "The webhook's secret cannot be read; look at the supervisor's flags.")
        }
        // Nothing of the body is looked at before this.
        guard WebhookSignature.isValid(call.header("X-Hub-Signature-256"), body: body, secret: secret) else {
            throw Problem(.unauthorized, "X-Hub-Signature-256 is not that of this body with the webhook's secret.")
        }

        guard let event = call.header("X-GitHub-Event"), let id = call.header("X-GitHub-Delivery"),
            (1...128).contains(id.utf8.count)
        else { throw Problem(.invalidRequest, "A delivery has the headers X-GitHub-Event and X-GitHub-Delivery.") }
        if event == "ping" { return .text("pong\n") }
        guard GitHubEvent.Kind(rawValue: event) != nil else { return Response(status: .noContent) }
        guard call.header("Content-Type")?.lowercased().hasPrefix("application/json") == true else {
            throw Problem(.invalidRequest, "Set the webhook's content type to application/json.")
        }
        guard let payload = try? await offLoop({ try JSON.decode(JSONValue.self, from: body) }) else {
            throw Problem(.invalidRequest, "The delivery is not JSON.")
        }
        let delivery = WebhookDelivery(
            id: id, event: event, payload: body, received: .now, parsed: try? GitHubEvent(event: event, payload: payload))
        let isNew = try await store.access { try $0.keep(delivery, subject: delivery.parsed?.place ?? "") }
        if isNew { onDelivery() }
        return try .json(["delivery": id, "state": isNew ? "stored" : "known"], status: .accepted)
    }
}

extension Data {
    fileprivate init(buffer: ByteBuffer) { self.init(buffer.readableBytesView) }
}

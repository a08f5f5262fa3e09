import Curl
import Foundation
import NIOConcurrencyHelpers
import SessionModel
import Support

/// A turn that a client was told is accepted.
struct Acknowledgement: Sendable {
    var key: String
    var prompt: String
    var turn: TurnID
}

/// Clients of one session that enqueue without pause, each turn under a key of its own and sent again until it is acknowledged,
/// whatever happens to the sidecar meanwhile. Now and then they send what was acknowledged before once more, as webhooks do.
struct Clients: Sendable {
    let socket: String
    let evidence: Evidence
    let seed: UInt64
    private let stopped = NIOLockedValueBox(false)

    init(socket: String, evidence: Evidence, seed: UInt64) {
        self.socket = socket
        self.evidence = evidence
        self.seed = seed
    }

    /// What each client wants of turns that are cut off: the first half has no wish.
    static func policy(ofKey key: String) -> OnInterrupt? {
        if key.hasPrefix("c3-") { return .retry(2) }
        return key.hasPrefix("c4-") ? .continue(3) : nil
    }

    /// Runs `count` clients beside `chaos`. When that returns, each goes on until its present turn is acknowledged.
    /// - Returns: what each client was told, in that order.
    func run(_ count: Int, beside chaos: @escaping @Sendable () async throws -> Void) async throws -> [[Acknowledgement]] {
        try await withThrowingTaskGroup(of: [Acknowledgement]?.self) { group in
            for client in 1...count { group.addTask { try await enqueue(as: client) } }
            group.addTask {
                defer { stopped.withLockedValue { $0 = true } }
                try await chaos()
                return nil
            }
            return try await group.reduce(into: []) { all, one in if let one { all.append(one) } }
        }
    }

    private func enqueue(as client: Int) async throws -> [Acknowledgement] {
        var random = SeededRandom(seed: seed &+ UInt64(client))
        var acknowledged: [Acknowledgement] = []
        while !stopped.withLockedValue({ $0 }) {
            let key = "c\(client)-\(acknowledged.count + 1)"
            let prompt = evidence.prompt(key)
            acknowledged.append(Acknowledgement(key: key, prompt: prompt, turn: try await enqueue(prompt, key: key)))
            if random.oneIn(4) { try await repeatOne(random.pick(acknowledged), changed: random.oneIn(3)) }
            try await Task.sleep(for: random.milliseconds(0...20))
        }
        return acknowledged
    }

    private func enqueue(_ prompt: String, key: String) async throws -> TurnID {
        let deadline = ContinuousClock.now + .seconds(120)
        while true {
            if let answer = try await post(prompt, key: key) {
                switch answer.status {
                case 200, 202: return try JSON.decode(Turn.self, from: Data(answer.body)).id
                case 429, 503: break
                default: throw SidecarFailure("\(key): \(answer.status) \(String(decoding: answer.body, as: UTF8.self))")
                }
            }
            guard ContinuousClock.now < deadline else { throw SidecarFailure("\(key) was not accepted in two minutes") }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    private func repeatOne(_ one: Acknowledgement, changed: Bool) async throws {
        guard let answer = try await post(changed ? one.prompt + "\nand more" : one.prompt, key: one.key), answer.status != 503
        else { return }
        let text = String(decoding: answer.body, as: UTF8.self)
        if changed {
            guard answer.status == 409 else { throw SidecarFailure("\(one.key) with another body: \(answer.status) \(text)") }
        } else {
            guard answer.status == 200, try JSON.decode(Turn.self, from: Data(answer.body)).id == one.turn else {
                throw SidecarFailure("\(one.key) was \(one.turn), and again: \(answer.status) \(text)")
            }
        }
    }

    /// Nil when there was no answer, so that nobody knows whether it was accepted.
    private func post(_ prompt: String, key: String) async throws -> CurlResponse? {
        let request = CurlRequest(
            "POST", "http://sidecar/v1/turns", headers: [("Content-Type", "application/json"), ("Idempotency-Key", key)],
            body: Array(try JSON.encode(TurnRequest(prompt: prompt, onInterrupt: Self.policy(ofKey: key)))), unixSocket: socket,
            timeout: .seconds(30))
        do throws(CurlError) {
            return try await CurlClient.shared.execute(request)
        } catch {
            guard [.connect, .lost].contains(error.code) else { throw error }
            return nil
        }
    }
}

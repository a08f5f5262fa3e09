import Foundation
import Logging
import NIOConcurrencyHelpers
import SessionModel

/// Deletes what has had its time: an ended session, with its transcript, after its `archiveTTL`, and a finished Task after its
/// `ttlSecondsAfterFinished`. The idempotency keys of both are remembered for as long as they are to be.
///
/// It sleeps until the first of them is due. Now and then it looks for what nobody's record leads to: strays and old archives.
final class Reaper: Sendable {
    private let store: any Store
    private let runtime: any Runtime
    private let logger: Logger
    private let wake: AsyncStream<Void>
    private let waker: AsyncStream<Void>.Continuation

    private static let sweepEvery = TimeSpan.minutes(10)

    init(store: any Store, runtime: any Runtime, logger: Logger) {
        self.store = store
        self.runtime = runtime
        self.logger = logger
        (wake, waker) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        store.feed.observe { [waker] change in if change.expires { waker.yield() } }
    }

    /// Works until its task is cancelled.
    func run() async {
        let timer = NIOLockedValueBox<Task<Void, Never>?>(nil)
        defer { timer.withLockedValue { $0?.cancel() } }
        var sweepAt = Timestamp.now
        waker.yield()
        for await _ in wake {
            if sweepAt <= .now {
                sweepAt = .now + Self.sweepEvery
                await endStrays()
                await runtime.removeOldArchives(at: .now)
            }
            var due = sweepAt
            do {
                while let name = try await reap() { logger.info("deleted, as its time is up", metadata: ["name": "\(name)"]) }
                due = min(due, try await store.read { try $0.nextExpiry } ?? due)
            } catch {
                logger.error("nothing could be deleted; trying again in a minute", metadata: ["error": "\(error)"])
                due = .now + .minutes(1)
            }
            let (waker, wait) = (waker, max(due - .now, .milliseconds(1)).duration)
            timer.withLockedValue { timer in
                timer?.cancel()
                timer = Task {
                    if (try? await Task.sleep(for: wait)) != nil { waker.yield() }
                }
            }
        }
    }

    private func endStrays() async {
        do {
            try await runtime.endStrays { name in try await self.store.read { try $0.session(named: name) } }
        } catch {
            logger.error("strays could not be looked for; trying again later", metadata: ["error": "\(error)"])
        }
    }

    /// Deletes one resource whose time is up.
    /// - Returns: its name; nil when there is none.
    private func reap() async throws -> String? {
        let runtime = runtime
        let (name, remove) = try await store.write { store -> (String?, (@Sendable () async throws -> Void)?) in
            guard let (kind, name) = try store.firstExpired(at: .now) else { return (nil, nil) }
            guard kind == SessionSpec.kind, let session = try store.session(named: name) else {
                if let task = try store.task(named: name) { try store.delete(task) }
                return (name, nil)
            }
            // No other transaction runs meanwhile, so no new session of the name can be using what this one has left.
            let remove = try runtime.discard(session)
            try store.delete(session)
            return (name, remove)
        }
        try await remove?()
        return name
    }
}

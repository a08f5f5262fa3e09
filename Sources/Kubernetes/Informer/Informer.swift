import NIOConcurrencyHelpers

/// A copy of all objects of a type that follows the server's: read it as often as you like.
///
/// ```swift
/// let pods = Informer(client.objects(.pods, as: GenericObject.self, in: "holdfast")) { changes in … }
/// async let running: Void = pods.run()
/// await pods.waitUntilSynced()
/// ```
/// It outlives whatever happens to server and connections; ``run()`` ends when its task is cancelled.
public final class Informer<Object: KubernetesObject>: Sendable {
    public struct Options: Sendable {
        /// Lists by pages instead of one long answer.
        public var usesPages = false
        public var pageSize = 500
        /// How long one watch lasts. Each lasts up to twice as long, by chance, so that not all end together.
        public var watchTime = Duration.seconds(300)
        /// A server that is alive sends a bookmark about every minute.
        public var longestSilence = Duration.seconds(150)
        public var backoff = Backoff()
        public init() {}
    }

    private let objects: Objects<Object>
    private let selector: Selector
    private let options: Options
    private let onChanges: @Sendable ([Change<Object>]) -> Void
    private let onProblem: @Sendable (KubernetesError) -> Void
    private let state: NIOLockedValueBox<State>

    private struct State {
        var machine: InformerMachine<Object>
        var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var lastWaiter: UInt64 = 0

        mutating func takeWaiters() -> [CheckedContinuation<Void, Never>] {
            defer { waiters = [:] }
            return Array(waiters.values)
        }
    }

    /// - Parameters:
    ///   - onChanges: is called in order, after the copy has changed. It must not block: put the keys into a queue.
    ///   - onProblem: is told what went wrong; the informer goes on by itself.
    public init(
        _ objects: Objects<Object>, selector: Selector = Selector(), options: Options = Options(),
        onProblem: @escaping @Sendable (KubernetesError) -> Void = { _ in },
        onChanges: @escaping @Sendable ([Change<Object>]) -> Void = { _ in }
    ) {
        self.objects = objects
        self.selector = selector
        self.options = options
        self.onChanges = onChanges
        self.onProblem = onProblem
        state = NIOLockedValueBox(
            State(machine: InformerMachine(usesPages: options.usesPages, backoff: options.backoff)))
    }

    // MARK: Reading

    public subscript(key: ObjectKey) -> Object? { state.withLockedValue { $0.machine.store[key] } }
    public var all: [Object] { state.withLockedValue { Array($0.machine.store.values) } }
    public var count: Int { state.withLockedValue { $0.machine.store.count } }
    /// It has once had everything. What it has may be old while the server does not answer.
    public var isSynced: Bool { state.withLockedValue { $0.machine.isSynced } }

    /// Returns when it has once had everything, when ``run()`` has ended, or when the task is cancelled.
    public func waitUntilSynced() async {
        let id = state.withLockedValue { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { waiter in
                let isOver = state.withLockedValue { state in
                    if state.machine.isSynced || Task.isCancelled { return true }
                    state.waiters[id] = waiter
                    return false
                }
                if isOver { waiter.resume() }
            }
        } onCancel: {
            state.withLockedValue { $0.waiters.removeValue(forKey: id) }?.resume()
        }
    }

    // MARK: Running

    /// Follows the server until the task is cancelled.
    public func run() async {
        var step = handle(.start)
        while !Task.isCancelled {
            switch step {
            case .list(let continuation): step = handle(.page(await page(continuation)))
            case .watch(let version): step = await follow(from: version)
            case .wait(let pause):
                try? await Task.sleep(for: pause)
                step = handle(.woke)
            case .read: preconditionFailure("there is no watch to go on with")
            }
        }
        for waiter in state.withLockedValue({ $0.takeWaiters() }) { waiter.resume() }
    }

    private func page(_ continuation: String?) async -> Result<Page<Object>, KubernetesError> {
        do throws(KubernetesError) {
            return .success(try await objects.page(selector, limit: options.pageSize, continuation: continuation))
        } catch {
            return .failure(error)
        }
    }

    /// Feeds the events of one watch to the machine until that has something else to do.
    private func follow(from version: String?) async -> InformerMachine<Object>.Step {
        do throws(KubernetesError) {
            let watch = try await objects.watch(
                selector, from: version, initialEvents: version == nil,
                lasting: options.watchTime * Double.random(in: 1..<2), idleTimeout: options.longestSilence)
            var events = watch.makeAsyncIterator()
            while let event = try await events.next() {
                let step = handle(.event(event))
                if step != .read { return step }
            }
            return handle(.watchEnded(nil))
        } catch {
            return handle(.watchEnded(error))
        }
    }

    private func handle(_ input: InformerMachine<Object>.Input) -> InformerMachine<Object>.Step {
        let (output, waiters) = state.withLockedValue { state in
            let output = state.machine.handle(input)
            return (output, state.machine.isSynced ? state.takeWaiters() : [])
        }
        if !output.changes.isEmpty { onChanges(output.changes) }
        for waiter in waiters { waiter.resume() }
        if !Task.isCancelled { output.problems.forEach(onProblem) }
        return output.next
    }
}

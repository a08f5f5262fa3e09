import Curl

/// What happened to one object in a cache.
public enum Change<Object: KubernetesObject>: Sendable, Hashable {
    case added(Object)
    case updated(from: Object, to: Object)
    /// With the last state that was seen of it.
    case deleted(Object)

    public var key: ObjectKey {
        switch self {
        case .added(let object), .updated(_, let object), .deleted(let object): object.key
        }
    }
}

/// The decisions of a cache that follows the objects of a type: pure, without clock and without I/O.
///
/// It is told what came, says what changed, and says what to do next. Resource versions are only compared for equality, and no
/// time that a server writes is looked at: neither a restored server nor a wrong clock can confuse it.
///
///     syncing ──all told──► watching ──ended──► watching from the last version that was seen
///        ▲                     │
///        └── 410, or two watches in a row without a word ◄─┘
///
/// A change missed while nobody watched is found by comparison: what a new list lacks was deleted, and what has another uid was
/// deleted and made anew.
struct InformerMachine<Object: KubernetesObject>: Sendable {
    enum Input: Sendable {
        case start
        /// What ``Step/list(continuation:)`` brought.
        case page(Result<Page<Object>, KubernetesError>)
        /// One event of the watch.
        case event(WatchEvent<Object>)
        /// The watch is over, or could not be begun. Nil when the server ended it in order.
        case watchEnded(KubernetesError?)
        /// The wait is over.
        case woke
    }

    /// What to do next. Whatever was going on before, such as a watch, is over, except with `read`.
    enum Step: Sendable, Hashable {
        case list(continuation: String?)
        /// - Parameter resourceVersion: nil: tell all objects first.
        case watch(resourceVersion: String?)
        /// Go on with the watch.
        case read
        case wait(Duration)
    }

    struct Output: Sendable {
        var changes: [Change<Object>] = []
        /// What went wrong, for people: the machine goes on by itself.
        var problems: [KubernetesError] = []
        var next: Step
    }

    private enum Phase: Sendable {
        /// All objects are being told, by pages or by a watch.
        case syncing
        /// The newest version that was seen.
        case watching(String)
        /// Nil: to synchronise.
        case waiting(resourceVersion: String?)
    }

    /// All objects as of one moment, while they come in.
    private struct Snapshot: Sendable {
        var objects: [ObjectKey: Object] = [:]
        var broken: Set<ObjectKey> = []
    }

    private(set) var store: [ObjectKey: Object] = [:]
    /// The store has once been complete.
    private(set) var isSynced = false
    private var phase = Phase.waiting(resourceVersion: nil)
    /// While it synchronises. Not in `phase`: taking it out of there and putting it back would copy it for every event.
    private var snapshot = Snapshot()
    /// This server cannot tell all objects in a watch, or has failed to.
    private var usesPages: Bool
    /// The present watch has said something.
    private var wasHeard = false
    /// Watches in a row that ended without a word: the server may not know the version that they begin at.
    private var silentWatches = 0
    private var backoff: Backoff
    private var random: any RandomNumberGenerator & Sendable

    init(
        usesPages: Bool = false, backoff: Backoff = Backoff(),
        random: any RandomNumberGenerator & Sendable = SystemRandomNumberGenerator()
    ) {
        self.usesPages = usesPages
        self.backoff = backoff
        self.random = random
    }

    mutating func handle(_ input: Input) -> Output {
        switch input {
        case .start: Output(next: synchronise())
        case .page(.success(let page)): received(page)
        case .page(.failure(let error)): Output(problems: [error], next: wait(thenWatchFrom: nil, after: error))
        case .event(let event): received(event)
        case .watchEnded(let error): watchEnded(error)
        case .woke:
            if case .waiting(let version?) = phase { Output(next: watch(from: version)) } else { Output(next: synchronise()) }
        }
    }

    // MARK: All objects

    private mutating func synchronise() -> Step {
        phase = .syncing
        snapshot = Snapshot()
        wasHeard = false
        return usesPages ? .list(continuation: nil) : .watch(resourceVersion: nil)
    }

    private mutating func received(_ page: Page<Object>) -> Output {
        guard case .syncing = phase else { return Output(next: synchronise()) }
        for object in page.items { snapshot.objects[object.key] = object }
        var problems: [KubernetesError] = []
        for object in page.broken {
            snapshot.broken.insert(object.key)
            problems.append(problem(object))
        }
        if let continuation = page.continuation { return Output(problems: problems, next: .list(continuation: continuation)) }
        guard let version = page.metadata.resourceVersion, !version.isEmpty else {
            let error = KubernetesError(.notKubernetes, "a list has no resourceVersion")
            return Output(problems: problems + [error], next: wait(thenWatchFrom: nil, after: error))
        }
        return Output(changes: takeSnapshot(), problems: problems, next: watch(from: version))
    }

    /// The snapshot is complete: it is what is known from now on.
    private mutating func takeSnapshot() -> [Change<Object>] {
        let snapshot = self.snapshot
        self.snapshot = Snapshot()
        var changes: [Change<Object>] = []
        for (key, old) in store.sorted(by: { $0.key < $1.key })
        where snapshot.objects[key] == nil && !snapshot.broken.contains(key) {
            store[key] = nil
            changes.append(.deleted(old))
        }
        for (_, object) in snapshot.objects.sorted(by: { $0.key < $1.key }) { changes += put(object) }
        isSynced = true
        return changes
    }

    private mutating func put(_ object: Object) -> [Change<Object>] {
        let key = object.key
        guard let old = store[key] else {
            store[key] = object
            return [.added(object)]
        }
        if old.metadata.uid != object.metadata.uid {
            store[key] = object
            return [.deleted(old), .added(object)]
        }
        if let version = old.metadata.resourceVersion, version == object.metadata.resourceVersion { return [] }
        store[key] = object
        return [.updated(from: old, to: object)]
    }

    // MARK: Changes

    private mutating func watch(from version: String) -> Step {
        phase = .watching(version)
        wasHeard = false
        return .watch(resourceVersion: version)
    }

    private mutating func received(_ event: WatchEvent<Object>) -> Output {
        if case .error(let error) = event { return watchEnded(error) }
        heard()
        switch phase {
        case .syncing: return collected(event)
        case .watching(let version): return received(event, version)
        case .waiting: return Output(next: synchronise())
        }
    }

    private mutating func collected(_ event: WatchEvent<Object>) -> Output {
        var output = Output(next: .read)
        switch event {
        case .added(let object), .modified(let object):
            snapshot.objects[object.key] = object
            snapshot.broken.remove(object.key)
        case .deleted(let object):
            snapshot.objects[object.key] = nil
            snapshot.broken.remove(object.key)
        case .broken(let object):
            snapshot.objects[object.key] = nil
            snapshot.broken.insert(object.key)
            output.problems = [problem(object)]
        case .bookmark(let version, true):
            output.changes = takeSnapshot()
            phase = .watching(version)
        case .bookmark, .error: break
        }
        return output
    }

    private mutating func received(_ event: WatchEvent<Object>, _ version: String) -> Output {
        var output = Output(next: .read)
        var seen: String?
        switch event {
        case .added(let object), .modified(let object):
            output.changes = put(object)
            seen = object.metadata.resourceVersion
        case .deleted(let object):
            // One that was never known, or another one of the same name that is known by now, changes nothing.
            if let old = store[object.key], old.metadata.uid == object.metadata.uid {
                store[object.key] = nil
                output.changes = [.deleted(object)]
            }
            seen = object.metadata.resourceVersion
        case .broken(let object):
            // The last readable state stays: whoever took it for deleted would do harm.
            output.problems = [problem(object)]
            seen = object.resourceVersion
        case .bookmark(let version, _): seen = version
        case .error: break
        }
        if let seen, !seen.isEmpty { phase = .watching(seen) }
        return output
    }

    private mutating func heard() {
        wasHeard = true
        silentWatches = 0
        backoff.reset()
    }

    private mutating func watchEnded(_ error: KubernetesError?) -> Output {
        let problems = error.map { [$0] } ?? []
        let isSilence = error == nil || error?.transport == .timeout
        switch phase {
        case .syncing:
            // Whatever the server has against it, pages always work.
            if isSilence || !(error!.isTransient || error!.code == .unauthorized || error!.code == .forbidden) {
                usesPages = true
            }
            return Output(problems: problems, next: wait(thenWatchFrom: nil, after: error))
        case .watching(let version):
            if error?.code == .expired { return Output(problems: problems, next: wait(thenWatchFrom: nil, after: error)) }
            if isSilence, !wasHeard {
                silentWatches += 1
                if silentWatches >= 2 {
                    silentWatches = 0
                    return Output(problems: problems, next: wait(thenWatchFrom: nil, after: error))
                }
            }
            if error == nil, wasHeard { return Output(next: watch(from: version)) }
            return Output(problems: problems, next: wait(thenWatchFrom: version, after: error))
        case .waiting: return Output(problems: problems, next: wait(thenWatchFrom: nil, after: error))
        }
    }

    private mutating func wait(thenWatchFrom version: String?, after error: KubernetesError?) -> Step {
        phase = .waiting(resourceVersion: version)
        return .wait(backoff.next(atLeast: error?.retryAfter ?? .zero, using: &random))
    }

    private func problem(_ object: BrokenObject) -> KubernetesError {
        KubernetesError(.notKubernetes, "\(object.key) cannot be read: \(object.problem)")
    }
}

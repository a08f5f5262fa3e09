import Glibc

/// Ends processes and everything below them: SIGTERM, and SIGKILL after a grace time, again and again until none is alive.
///
/// It never ends this process or one of its ancestors, and never a process that merely has the pid of one that has ended.
/// ``step()`` does not block and is for an event loop; ``end(_:grace:within:)`` waits.
public struct ProcessSweep {
    /// Which processes to end; all that satisfy any of these, and all their descendants.
    public struct Targets: Sendable {
        /// Descendants of this process, itself not included.
        public var descendantsOf: Int32?
        /// Processes whose environment has this `NAME=VALUE`.
        public var marker: String?
        /// Orphans that this process adopted as a subreaper.
        public var adopted: Bool

        public init(descendantsOf: Int32? = nil, marker: String? = nil, adopted: Bool = false) {
            self.descendantsOf = descendantsOf
            self.marker = marker
            self.adopted = adopted
        }

        /// Those that are alive now, parents before their children: a shell whose command was ended first would go on to the
        /// next one before its own turn came.
        /// - Parameter known: processes that were found before. They and their descendants are targets still, even when what
        ///   they were found by, such as a parent with the marker, has ended since.
        public func find(and known: Set<ProcessEntry.Identity> = []) -> [ProcessEntry] {
            let entries = ProcessEntry.all()
            var found: [Int32: ProcessEntry] = [:]
            for entry in entries where known.contains(entry.identity) { found[entry.pid] = entry }
            if let descendantsOf {
                for entry in ProcessEntry.closure(of: [descendantsOf], in: entries) { found[entry.pid] = entry }
            }
            if adopted {
                for entry in Child.adopted() { found[entry.pid] = entry }
            }
            let parents = Dictionary(entries.map { ($0.pid, $0.parent) }, uniquingKeysWith: { first, _ in first })
            let protected = Set([getpid()] + Self.ancestors(of: getpid(), in: parents))
            if let marker {
                for entry in entries where found[entry.pid] == nil && !protected.contains(entry.pid) && entry.carries(marker) {
                    found[entry.pid] = entry
                }
            }
            for entry in ProcessEntry.closure(of: Set(found.keys).subtracting(protected), in: entries) {
                found[entry.pid] = entry
            }
            return found.values.filter { $0.isAlive && !protected.contains($0.pid) }
                .map { (entry: $0, depth: Self.ancestors(of: $0.pid, in: parents).count) }
                .sorted { $0.depth < $1.depth }.map(\.entry)
        }

        /// A quick look: much faster than ``find()``, for what forks and ends faster than all of /proc is read.
        func glance() -> [ProcessEntry] {
            var open: [ProcessEntry] = []
            if let descendantsOf { open += ProcessEntry.children(of: descendantsOf) }
            if adopted { open += Child.adopted { ProcessEntry.children(of: getpid()) } }
            var found: [ProcessEntry] = []
            var seen: Set<Int32> = [getpid()]
            while let entry = open.popLast() {
                guard seen.insert(entry.pid).inserted else { continue }
                if entry.isAlive { found.append(entry) }
                open += ProcessEntry.children(of: entry.pid)
            }
            return found
        }

        /// The nearest first. The look at /proc is not one moment's, so that a pid used again could close a circle.
        private static func ancestors(of pid: Int32, in parents: [Int32: Int32]) -> [Int32] {
            var pids: [Int32] = []
            var seen: Set<Int32> = [pid]
            var next = parents[pid] ?? 0
            while next > 0, seen.insert(next).inserted {
                pids.append(next)
                next = parents[next] ?? 0
            }
            return pids
        }
    }

    private let targets: Targets
    private var killAt: ContinuousClock.Instant
    /// All that were ever found; those have got their SIGTERM, unless it is past.
    private var known: Set<ProcessEntry.Identity> = []

    public init(_ targets: Targets, grace: Duration) {
        self.targets = targets
        killAt = .now + grace
    }

    /// SIGKILL no later than this from now.
    public mutating func shortenGrace(to grace: Duration) { killAt = min(killAt, .now + grace) }

    /// The grace time is over: whatever still lives is being killed.
    public var isKilling: Bool { ContinuousClock.now >= killAt }

    /// Looks once, and signals what it finds.
    /// - Returns: the processes that were alive.
    @discardableResult public mutating func step() -> [ProcessEntry] {
        guard isKilling else {
            let alive = targets.find(and: known)
            for entry in alive where known.insert(entry.identity).inserted {
                entry.signal(SIGTERM)
                entry.signal(SIGCONT)  // A stopped process would not notice.
            }
            return alive
        }
        let alive = targets.find(and: known)
        for entry in alive { entry.signal(SIGKILL) }
        // What was forked in the meantime is looked for at once, for a while.
        let until = ContinuousClock.now + .milliseconds(20)
        var seen = Set(alive.map(\.identity))
        known.formUnion(seen)
        while ContinuousClock.now < until {
            let new = targets.glance().filter { seen.insert($0.identity).inserted }
            if new.isEmpty { break }
            for entry in new { entry.signal(SIGKILL) }
        }
        return alive
    }

    /// Ends the targets. It returns when two looks in a row have found none alive, or at the deadline.
    /// - Returns: what is still alive; empty if all is well.
    public static func end(_ targets: Targets, grace: Duration, within limit: Duration) -> [ProcessEntry] {
        let deadline = ContinuousClock.now + limit
        var sweep = ProcessSweep(targets, grace: grace)
        var quiet = 0
        while true {
            let alive = sweep.step()
            if targets.adopted { Child.reapAdopted() }
            quiet = alive.isEmpty ? quiet + 1 : 0
            if quiet == 2 || ContinuousClock.now >= deadline { return alive }
            usleep(alive.isEmpty ? 1000 : 5000)
        }
    }
}

extension ProcessEntry {
    /// What tells a process from a later one with the same pid.
    public struct Identity: Sendable, Hashable {
        public var pid: Int32
        public var startTime: UInt64

        public init(pid: Int32, startTime: UInt64) {
            self.pid = pid
            self.startTime = startTime
        }
    }

    public var identity: Identity { Identity(pid: pid, startTime: startTime) }
}

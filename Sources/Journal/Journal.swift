import CLinux
import FoundationEssentials
import Glibc
import NIOConcurrencyHelpers
public import SessionModel

/// A session's journal: one append-only sequence of events, durable before it is acknowledged.
///
/// ```swift
/// let (journal, queue, gaps) = try Journal.open(state: "/state", epoch: nil, onTrouble: { … })
/// let sequence = journal.append(.turnQueued(…), turn: t1, at: now)
/// try await journal.synced(sequence)      // many of these share one fdatasync
/// ```
/// One thread writes. What is appended while it waits for the disk goes with the next write, so that the disk's rate of
/// fdatasync does not bound the rate of events. Events are written in the order of `append`.
public final class Journal: Sendable {
    /// 16 hexadecimal digits, chosen when the journal is made.
    public let id: String
    public let epoch: UInt32
    public let state: String

    /// What the owner must know at once. Called on the journal's thread.
    public enum Trouble: Sendable, Hashable {
        /// The disk is full, over quota or read-only; a small reserve is left for the ends of running turns. What is pending is
        /// tried again every second.
        case full(String)
        /// There is space again.
        case recovered
        /// A write could not be made durable. End the process and recover from the disk.
        case broken(String)
    }

    public struct Options: Sendable {
        /// A segment is closed when it is longer than this and than four times its checkpoint, bytes.
        public var segmentSize = 4 << 20
        /// Disk space set aside ahead of the writer, bytes; when less than half of it is left, the disk counts as full.
        public var reserve = 1 << 20
        /// How often a full disk is tried again.
        public var retry = TimeSpan.seconds(1)
        public init() {}
    }

    private enum Item {
        case lines([UInt8], last: UInt64)
        case segment(Segment.Header)
    }

    private struct State {
        var next: UInt64
        var durable: UInt64
        var pending: [Item] = []
        var pendingBytes = 0
        /// Of the segment that the next append goes to.
        var segmentSize: Int
        var headerSize: Int
        var waiters: [(sequence: UInt64, continuation: CheckedContinuation<Result<Void, JournalError>, Never>)] = []
        var followers: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var closers: [CheckedContinuation<Void, Never>] = []
        var nextFollower: UInt64 = 0
        var full: JournalError?
        var broken: JournalError?
        var closing = false
        var closed = false
        var syncs: UInt64 = 0
        /// Let go when the journal is closed; kept by one that is broken, until its process has ended.
        var lock: StateLock?
    }

    private let shared: NIOLockedValueBox<State>
    private let options: Options
    private let files: any FileLayer
    private let blobs: Blobs
    private let onTrouble: @Sendable (Trouble) -> Void
    private let wake = DispatchSignal()

    // MARK: Opening

    /// Opens a session's journal, or makes one. The caller records what follows from it: ``SessionModel/TurnQueue/Input/opened(epoch:_:)``.
    ///
    /// - Parameters:
    ///   - state: the session's state directory; created when missing, its parent must exist.
    ///   - epoch: this incarnation; nil for the one after the last. Lower than the last one seen is refused.
    /// - Returns: the journal, the queue as its events left it, and the acknowledged events that cannot be read. The caller
    ///   hands these to the queue, ``SessionModel/TurnQueue/Input/damaged(_:)``, before it records anything else but the opening.
    public static func open(
        state: String, epoch: UInt32?, now: Timestamp, options: Options = Options(), files: any FileLayer = PosixFileLayer(),
        exclusive: Bool = true, onTrouble: @escaping @Sendable (Trouble) -> Void
    ) throws(JournalError) -> (journal: Journal, queue: TurnQueue, gaps: [JournalGap]) {
        do {
            try files.makeDirectory(state)
            try files.makeDirectory(state + "/transcript")
            try files.makeDirectory(state + "/blobs")
            try files.syncDirectory(state)
            do { try files.syncDirectory(Self.parent(of: state)) } catch  where [EACCES, EPERM].contains(error.errno) {
                // A directory that is not ours to look into, as above a mounted volume, is not where ours was made.
            }
        } catch {
            throw JournalError(.unusable, "The state directory \(state) cannot be used: \(error).")
        }
        let lock = exclusive ? try StateLock(directory: state) : nil
        let recovery = try Recovery(state: state, files: files)
        let epoch = epoch ?? recovery.epoch &+ 1
        guard epoch >= recovery.epoch, epoch > 0 else {
            throw JournalError(
                .staleEpoch,
                "Epoch \(recovery.epoch) has already written in \(state), so epoch \(epoch) may not: a newer incarnation of this session exists."
            )
        }
        var random = SystemRandomNumberGenerator()
        let fresh = String(random.next(), radix: 16)
        let header = Segment.Header(
            segment: .init(
                format: Segment.format, journal: recovery.journal ?? String(repeating: "0", count: 16 - fresh.utf8.count) + fresh,
                epoch: epoch, first: recovery.last + 1, lastTurn: recovery.queue.lastOrdinal, time: now,
                gaps: recovery.gaps.isEmpty ? nil : recovery.gaps),
            checkpoint: recovery.queue.checkpoint)
        do {
            let (file, size) = try makeSegment(header, state: state, files: files)
            let journal = Journal(
                header: header, headerSize: size, file: file, state: state, options: options, files: files, lock: lock,
                onTrouble: onTrouble)
            return (journal, recovery.queue, recovery.gaps)
        } catch let error as FileError {
            throw JournalError(error.isFull ? .full : .unusable, "The journal cannot be opened for writing: \(error).")
        } catch {
            throw JournalError(.unusable, "The journal cannot be opened for writing: \(error).")
        }
    }

    /// Makes a segment whose header is on disk before the file has its name.
    private static func makeSegment(
        _ header: Segment.Header, state: String, files: any FileLayer
    ) throws -> (any File, Int) {
        let directory = state + "/transcript"
        let path = directory + "/" + Segment.name(first: header.segment.first)
        let line = try header.line()
        let file = try files.open(path + ".tmp", .create)
        do {
            try file.write(line, at: 0)
            try file.sync()
            try files.rename(path + ".tmp", to: path)
        } catch {
            file.close()
            try? files.remove(path + ".tmp")
            throw error
        }
        do { try files.syncDirectory(directory) } catch {
            file.close()
            // The segment may be there at the next start: nothing may be written to the one before it any more.
            throw FileError(error.operation, error.path, errno: EIO)
        }
        return (file, line.count)
    }

    private static func parent(of path: String) -> String {
        let parts = path.split(separator: "/").dropLast()
        return path.hasPrefix("/") ? "/" + parts.joined(separator: "/") : parts.isEmpty ? "." : parts.joined(separator: "/")
    }

    private init(
        header: Segment.Header, headerSize: Int, file: any File, state: String, options: Options, files: any FileLayer,
        lock: StateLock?, onTrouble: @escaping @Sendable (Trouble) -> Void
    ) {
        id = header.segment.journal
        epoch = header.segment.epoch
        self.state = state
        self.options = options
        self.files = files
        self.onTrouble = onTrouble
        blobs = Blobs(directory: state + "/blobs", files: files)
        shared = NIOLockedValueBox(
            State(
                next: header.segment.first, durable: header.segment.first - 1, segmentSize: headerSize, headerSize: headerSize,
                lock: lock))
        let thread = Thread(journal: self, file: file, offset: headerSize)
        thread.start()
    }

    // MARK: Appending

    /// The last event that is on disk.
    public var durable: UInt64 { shared.withLockedValue { $0.durable } }
    /// The last event that was appended.
    public var appended: UInt64 { shared.withLockedValue { $0.next - 1 } }
    /// How many times the disk was asked to make events durable.
    public var syncs: UInt64 { shared.withLockedValue { $0.syncs } }
    public var cursor: Cursor { Cursor(journal: id, sequence: durable) }
    /// Why nothing can be written at present.
    public var fault: JournalError? { shared.withLockedValue { $0.broken ?? $0.full } }

    /// Appends an event. It is durable when ``synced(_:)`` of its sequence number has returned.
    ///
    /// One caller at a time: the order of calls is the order of events.
    @discardableResult
    public func append(_ body: EventBody, turn: TurnID?, at time: Timestamp) -> UInt64 {
        var data: Data
        do { data = try body.encodedData() } catch { preconditionFailure("an event that is not JSON: \(error)") }
        var blob: (name: String, bytes: Int)?
        if data.count > Blobs.threshold {
            // Where the blob cannot be written, the line stays whole: a long line is better than a lost prompt.
            if let short = try? Blobs.shorten(data), let name = try? blobs.store(data) {
                blob = (name, data.count)
                data = short
            }
        }
        let (sequence, sleeping) = shared.withLockedValue { state in
            let sequence = state.next
            state.next += 1
            var buffer: [UInt8] = []
            var tail: (last: UInt64, index: Int)?
            if case .lines(let bytes, _)? = state.pending.last {
                buffer = bytes
                tail = (sequence, state.pending.count - 1)
                state.pending[state.pending.count - 1] = .lines([], last: sequence)
            }
            let before = buffer.count
            EventLine.write(
                Event(sequence: sequence, epoch: epoch, time: time, turn: turn, body: body), encodedData: data, blob: blob,
                synced: state.durable, to: &buffer)
            state.segmentSize += buffer.count - before
            state.pendingBytes += buffer.count - before
            let sleeping = state.pending.isEmpty
            if let tail {
                state.pending[tail.index] = .lines(buffer, last: sequence)
            } else {
                state.pending.append(.lines(buffer, last: sequence))
            }
            return (sequence, sleeping)
        }
        if sleeping { wake.signal() }
        return sequence
    }

    /// Closes the segment when it has grown long enough. The checkpoint is of the queue with every appended event applied.
    ///
    /// Called by the one caller of ``append(_:turn:at:)``, so that no event comes between the checkpoint and its place.
    public func rotateIfNeeded(at time: Timestamp, checkpoint: () -> TurnQueue.Checkpoint) {
        let due = shared.withLockedValue {
            $0.full == nil && $0.segmentSize > max(options.segmentSize, 4 * $0.headerSize)
        }
        guard due else { return }
        let checkpoint = checkpoint()
        let first = shared.withLockedValue { $0.next }
        let header = Segment.Header(
            segment: .init(
                format: Segment.format, journal: id, epoch: epoch, first: first, lastTurn: checkpoint.lastOrdinal, time: time),
            checkpoint: checkpoint)
        let size = (try? header.line().count) ?? 0
        shared.withLockedValue {
            $0.pending.append(.segment(header))
            $0.segmentSize = size
            $0.headerSize = size
        }
        wake.signal()
    }

    /// Returns when every event up to a sequence number is on disk.
    /// - Throws: ``JournalError/Code/full`` at once while the disk is full (the event stays pending), ``JournalError/Code/broken``.
    public func synced(_ sequence: UInt64) async throws(JournalError) {
        let result: Result<Void, JournalError> = await withCheckedContinuation { continuation in
            let done: Result<Void, JournalError>? = shared.withLockedValue { state in
                if state.durable >= sequence { return .success(()) }
                if let error = state.broken ?? state.full { return .failure(error) }
                if state.closed { return .failure(JournalError(.broken, "The journal is closed.")) }
                state.waiters.append((sequence, continuation))
                return nil
            }
            if let done { continuation.resume(returning: done) }
        }
        try result.get()
    }

    /// Waits until what has been appended is on disk; for a reader that may show only what is durable.
    public func settled() async throws(JournalError) { try await synced(appended) }

    /// Like ``synced(_:)``, but waits for as long as the disk is full. False when the journal ends first.
    public func eventuallySynced(_ sequence: UInt64) async -> Bool {
        while true {
            let (durable, closed) = shared.withLockedValue { ($0.durable, $0.closed) }
            if durable >= sequence { return true }
            if closed || Task.isCancelled { return false }
            await changed(after: durable)
        }
    }

    /// Bytes that wait for the writer: who appends a lot waits for ``settled()`` when this grows.
    public var backlog: Int { shared.withLockedValue { $0.pendingBytes } }

    /// Waits until there are durable events after `sequence`; returns early when the task is cancelled or the journal closes.
    public func changed(after sequence: UInt64) async {
        let ticket = shared.withLockedValue { state in
            state.nextFollower += 1
            return state.nextFollower
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now = shared.withLockedValue { state in
                    if state.durable > sequence || state.closed || Task.isCancelled { return true }
                    state.followers[ticket] = continuation
                    return false
                }
                if now { continuation.resume() }
            }
        } onCancel: {
            shared.withLockedValue { $0.followers.removeValue(forKey: ticket) }?.resume()
        }
    }

    /// Writes what is pending, if it can, and stops the writer.
    public func close() async {
        shared.withLockedValue { $0.closing = true }
        wake.signal()
        await withCheckedContinuation { continuation in
            let closed = shared.withLockedValue { state in
                if !state.closed { state.closers.append(continuation) }
                return state.closed
            }
            if closed { continuation.resume() }
        }
    }

    // MARK: The writer

    /// The thread that owns the file.
    private final class Thread: @unchecked Sendable {  // Its fields are used by its own thread only.
        let journal: Journal
        var file: any File
        /// Where the next durable write goes: everything before it is on disk.
        var offset: Int
        /// The end of the space that is set aside; nil where the file system cannot.
        var reserved: Int? = 0
        /// Taken from the queue, not yet durable.
        var batch: [Item] = []

        init(journal: Journal, file: any File, offset: Int) {
            self.journal = journal
            self.file = file
            self.offset = offset
        }

        func start() {
            var thread = pthread_t()
            let box = Unmanaged.passRetained(self)
            let result = pthread_create(
                &thread, nil,
                { argument in
                    Unmanaged<Thread>.fromOpaque(argument!).takeRetainedValue().run()
                    return nil
                }, box.toOpaque())
            precondition(result == 0, "no thread for the journal: \(String(cString: strerror(result)))")
            pthread_detach(thread)
        }

        func run() {
            keepReserve()
            while true {
                let (items, closing, full) = journal.shared.withLockedValue { state in
                    defer {
                        state.pending.removeAll()
                        state.pendingBytes = 0
                    }
                    return (state.pending, state.closing, state.full != nil)
                }
                batch += items
                if batch.isEmpty, closing { break }
                if batch.isEmpty, !full {
                    journal.wake.wait()
                    continue
                }
                do {
                    try write()
                    keepReserve()
                } catch  where error.isFull && closing {
                    break
                } catch  where error.isFull {
                    try? file.truncate(to: offset)
                    if reserved != nil { reserved = 0 }  // It went with what was cut off.
                    report(full: error)
                } catch {
                    fail(error)
                    return
                }
                // While full, the next attempt is when something is appended (there may be a reserve), or after a while.
                if journal.fault != nil { journal.wake.wait(atMost: journal.options.retry) }
            }
            try? file.truncate(to: offset)  // gives the reserve back
            file.close()
            finish()
        }

        /// Makes the batch durable, from its first item on; what is durable leaves the batch.
        private func write() throws(FileError) {
            while let item = batch.first {
                switch item {
                case .lines(var bytes, var last):
                    var count = 1
                    while count < batch.count, case .lines(let more, let end) = batch[count] {
                        bytes += more
                        last = end
                        count += 1
                    }
                    try file.write(bytes, at: offset)
                    do {
                        try file.sync()
                    } catch {
                        // The kernel may have dropped the pages and forgotten the error: only the disk knows what is there.
                        throw FileError(error.operation, error.path, errno: EIO)
                    }
                    offset += bytes.count
                    batch.removeFirst(count)
                    acknowledge(last)
                case .segment(let header):
                    let made: (any File, Int)
                    do {
                        made = try Journal.makeSegment(header, state: journal.state, files: journal.files)
                    } catch let error as FileError where error.isFull {
                        // The present segment goes on, so that the ends of running turns still fit into its reserve; its owner
                        // asks again when it has grown.
                        batch.removeFirst()
                        continue
                    } catch let error as FileError {
                        throw error
                    } catch {
                        preconditionFailure("a checkpoint that is not JSON: \(error)")
                    }
                    try? file.truncate(to: offset)
                    file.close()
                    file = made.0
                    offset = made.1
                    reserved = reserved == nil ? nil : 0
                    batch.removeFirst()
                }
            }
        }

        /// Sets disk space aside ahead of the writer, so that a full disk is known before anything is lost to it.
        private func keepReserve() {
            guard let reserved else {
                if journal.fault != nil { reportRecovered() }
                return
            }
            let wanted = journal.options.reserve
            if reserved - offset >= wanted / 2 {
                if journal.fault != nil { reportRecovered() }
                return
            }
            do {
                self.reserved = try file.reserve(from: offset, count: wanted) ? offset + wanted : nil
                if journal.fault != nil { reportRecovered() }
            } catch  where error.isFull {
                report(full: error)
            } catch {
                self.reserved = nil  // A file system that has no say in this is told by its writes.
            }
        }

        private func acknowledge(_ last: UInt64) {
            let (waiters, followers) = journal.shared.withLockedValue { state in
                state.durable = last
                state.syncs += 1
                let split = state.waiters.partition { $0.sequence <= last }
                let ready = state.waiters[split...]
                state.waiters.removeSubrange(split...)
                defer { state.followers.removeAll(keepingCapacity: true) }
                return (ready, state.followers)
            }
            for waiter in waiters { waiter.continuation.resume(returning: .success(())) }
            for follower in followers.values { follower.resume() }
        }

        private func report(full error: FileError) {
            let problem = JournalError(.full, "The journal cannot be written: \(error).")
            let (first, waiters) = journal.shared.withLockedValue { state in
                defer {
                    state.full = problem
                    state.waiters.removeAll()
                }
                return (state.full == nil, state.waiters)
            }
            for waiter in waiters { waiter.continuation.resume(returning: .failure(problem)) }
            if first { journal.onTrouble(.full("\(error)")) }
        }

        private func reportRecovered() {
            journal.shared.withLockedValue { $0.full = nil }
            journal.onTrouble(.recovered)
        }

        private func fail(_ error: FileError) {
            let problem = JournalError(
                .broken, "The journal cannot be made durable: \(error). The sidecar ends and recovers from what is on disk.")
            let waiters = journal.shared.withLockedValue { state in
                defer {
                    state.broken = problem
                    state.waiters.removeAll()
                }
                return state.waiters
            }
            journal.onTrouble(.broken(problem.message))
            for waiter in waiters { waiter.continuation.resume(returning: .failure(problem)) }
            file.close()
            finish()
        }

        private func finish() {
            let (waiters, followers, closers) = journal.shared.withLockedValue { state in
                state.closed = true
                if state.broken == nil { state.lock = nil }
                defer {
                    state.waiters.removeAll()
                    state.followers.removeAll()
                    state.closers.removeAll()
                }
                return (state.waiters, state.followers, state.closers)
            }
            for waiter in waiters {
                waiter.continuation.resume(returning: .failure(JournalError(.broken, "The journal is closed.")))
            }
            for follower in followers.values { follower.resume() }
            for closer in closers { closer.resume() }
        }
    }
}

/// Wakes the writer: signals that come while it works are one signal.
private final class DispatchSignal: @unchecked Sendable {  // The condition guards `signalled`.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var signalled = false

    init() {
        pthread_mutex_init(mutex, nil)
        // Monotonic, so that a clock that is set back does not stretch a wait.
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func signal() {
        pthread_mutex_lock(mutex)
        signalled = true
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    func wait(atMost span: TimeSpan? = nil) {
        var deadline = timespec()
        if let span {
            clock_gettime(CLOCK_MONOTONIC, &deadline)
            let nanoseconds = Int64(deadline.tv_nsec) + span.milliseconds % 1000 * 1_000_000
            deadline.tv_sec += Int(span.milliseconds / 1000 + nanoseconds / 1_000_000_000)
            deadline.tv_nsec = Int(nanoseconds % 1_000_000_000)
        }
        pthread_mutex_lock(mutex)
        while !signalled {
            if span == nil {
                pthread_cond_wait(condition, mutex)
            } else if pthread_cond_timedwait(condition, mutex, &deadline) != 0 {
                break
            }
        }
        signalled = false
        pthread_mutex_unlock(mutex)
    }
}

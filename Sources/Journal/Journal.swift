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

    enum Item {
        case lines([UInt8], last: UInt64)
        case segment(Segment.Header)
    }

    struct State {
        var next: UInt64
        var durable: UInt64
        var pending: [Item] = []
        var pendingBytes = 0
        /// Of the segment that the next append goes to.
        var segmentSize: Int
        var headerSize: Int
        var waiters: [(sequence: UInt64, continuation: CheckedContinuation<Result<Void, JournalError>, Never>)] = []
        var followers: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var watchers: [UInt64: @Sendable (_ isOpen: Bool) -> Void] = [:]
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

    let shared: NIOLockedValueBox<State>
    let options: Options
    let files: any FileLayer
    private let blobs: Blobs
    let onTrouble: @Sendable (Trouble) -> Void
    let wake = WakeSignal()
    /// What followers read of what is new.
    let tail = Tail(limit: 512 << 10)

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
    static func makeSegment(
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
        let thread = Writer(journal: self, file: file, offset: headerSize)
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
        var data: [UInt8]
        do { data = try body.encodedData() } catch { preconditionFailure("an event that is not JSON: \(error)") }
        var blob: (name: String, bytes: Int)?
        if data.count > Blobs.threshold {
            // Where the blob cannot be written, the line stays whole: a long line is better than a lost prompt.
            let whole = Data(data)
            if let short = try? Blobs.shorten(whole), let name = try? blobs.store(whole) {
                blob = (name, data.count)
                data = Array(short)
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
        shared.withLockedValue { state in
            let header = Segment.Header(
                segment: .init(
                    format: Segment.format, journal: id, epoch: epoch, first: state.next, lastTurn: checkpoint.lastOrdinal,
                    time: time), checkpoint: checkpoint)
            state.pending.append(.segment(header))
            // The writer adds the header's size when it has written it.
            state.segmentSize = 0
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

    /// Calls `wake` whenever there are new durable events, and with false when there will be no more.
    ///
    /// It is called on the journal's thread, which waits for it.
    /// - Returns: what ``unwatch(_:)`` takes.
    public func watch(_ wake: @escaping @Sendable (_ isOpen: Bool) -> Void) -> UInt64 {
        let (ticket, isOpen) = shared.withLockedValue { state in
            state.nextFollower += 1
            if !state.closed { state.watchers[state.nextFollower] = wake }
            return (state.nextFollower, !state.closed)
        }
        if !isOpen { wake(false) }
        return ticket
    }

    public func unwatch(_ ticket: UInt64) {
        shared.withLockedValue { $0.watchers[ticket] = nil }
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
}

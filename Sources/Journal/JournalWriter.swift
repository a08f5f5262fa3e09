import Glibc
import NIOConcurrencyHelpers
import SessionModel

extension Journal {
    /// The thread that owns the file.
    final class Writer: @unchecked Sendable {  // Its fields are used by its own thread only.
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
                    Unmanaged<Writer>.fromOpaque(argument!).takeRetainedValue().run()
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
                    acknowledge(last, bytes)
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
                    journal.shared.withLockedValue {
                        $0.headerSize = made.1
                        $0.segmentSize += made.1
                    }
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

        private func acknowledge(_ last: UInt64, _ bytes: [UInt8]) {
            let (waiters, followers, watchers) = journal.shared.withLockedValue { state in
                if state.watchers.isEmpty {
                    journal.tail.clear()
                } else {
                    journal.tail.add(bytes, first: state.durable + 1, last: last)
                }
                state.durable = last
                state.syncs += 1
                let split = state.waiters.partition { $0.sequence <= last }
                let ready = state.waiters[split...]
                state.waiters.removeSubrange(split...)
                defer { state.followers.removeAll(keepingCapacity: true) }
                return (ready, state.followers, state.watchers)
            }
            for waiter in waiters { waiter.continuation.resume(returning: .success(())) }
            for follower in followers.values { follower.resume() }
            for wake in watchers.values { wake(true) }
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
            let (waiters, followers, watchers, closers) = journal.shared.withLockedValue { state in
                state.closed = true
                if state.broken == nil { state.lock = nil }
                defer {
                    state.waiters.removeAll()
                    state.followers.removeAll()
                    state.watchers.removeAll()
                    state.closers.removeAll()
                }
                return (state.waiters, state.followers, state.watchers, state.closers)
            }
            for waiter in waiters {
                waiter.continuation.resume(returning: .failure(JournalError(.broken, "The journal is closed.")))
            }
            for follower in followers.values { follower.resume() }
            for wake in watchers.values { wake(false) }
            for closer in closers { closer.resume() }
        }
    }
}

import NIOCore

/// Runs tasks on the thread of one event loop, so that a request is read, handled and answered without changing threads.
///
/// What runs there must not block: the loop serves every connection of its listener. See ``offLoop(_:)``.
final class EventLoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(_ loop: any EventLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// Does work that reads files or takes long beside the event loop, which goes on with other requests meanwhile.
public func offLoop<Value, Failure: Error>(_ work: () throws(Failure) -> Value) async throws(Failure) -> Value {
    try await withTaskExecutorPreference(globalConcurrentExecutor) { () async throws(Failure) -> Value in try work() }
}

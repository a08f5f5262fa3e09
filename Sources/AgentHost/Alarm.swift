import NIOCore
import NIOPosix

/// Does something after a while, unless it is cancelled.
///
/// Not a task that sleeps: one that is cancelled keeps its memory until its time would have come, and every turn and every
/// command has a time limit of minutes or hours that it hardly ever reaches.
public struct Alarm: Sendable {
    private static let loop = MultiThreadedEventLoopGroup.singleton.next()
    private let scheduled: Scheduled<Void>

    public init(in span: Duration, _ action: @escaping @Sendable () async -> Void) {
        scheduled = Self.loop.scheduleTask(in: max(.milliseconds(1), TimeAmount(span))) { _ = Task { await action() } }
    }

    public func cancel() { scheduled.cancel() }

    /// Returns after a while, or as soon as the task is cancelled.
    public static func wait(_ span: Duration) async {
        let rings = Promise<Bool>()
        let alarm = Alarm(in: span) { rings.fulfil(true) }
        defer { alarm.cancel() }
        _ = await rings.wait()
    }
}

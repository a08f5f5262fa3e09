import SessionModel

/// A session's directory: the journal with its durable prefix, and what is alive in it. It outlives sidecars.
final class Disk {
    var journal: String
    private(set) var events: [Event] = []
    /// So many events survive a power loss.
    private(set) var durable = 0
    var highestEpoch: UInt32 = 0
    var isFull = false
    /// How long an fdatasync takes at most, milliseconds.
    var slowness: Int64 = 4
    /// So many syncs from now on fail.
    var syncsToFail = 0
    /// Events up to this one are damaged; the next sidecar finds out.
    var isDamaged = false
    /// The dispatch whose agent may be alive in the working directory.
    var agentAtWork: TurnID?

    init(id: String) { journal = id }

    func append(_ event: Event) { events.append(event) }
    func sync(upTo count: Int) { durable = max(durable, count) }

    /// What a power loss or a kill leaves: the durable prefix, and of the rest as much as had got to the disk by chance.
    func lose(keeping extra: Int) { events.removeLast(max(0, events.count - durable - extra)) }

    /// The directory is gone.
    func replace(journal id: String) {
        journal = id
        events = []
        durable = 0
        highestEpoch = 0
        agentAtWork = nil
        isDamaged = false
    }
}

import Curl
import NIOConcurrencyHelpers
import SessionModel

/// Follows what one sidecar does: one long-poll after the other, and every change of its activity is reported.
///
/// While it waits there is no task and no answer that was decoded: only the request, which ends with this object.
final class SidecarWatch: Sendable {
    let client: SidecarClient
    private let incarnation: any Incarnation
    private let report: @Sendable (SessionReconciler.Event) -> Void
    private let state = NIOLockedValueBox(State())

    private struct State {
        /// The version of the activity that is known; nil when the next answer is news, whatever it is.
        var version: Int64?
        /// All that it said but version and cursor, and whether it was at work.
        var gist: Int?
        var wasBusy: Bool?
        /// It was ready once, and that was reported.
        var announced = false
        var pause = Duration.milliseconds(2)
        var isOver = false
        var end: (@Sendable () -> Void)?
    }

    init(
        _ client: SidecarClient, of incarnation: any Incarnation, report: @escaping @Sendable (SessionReconciler.Event) -> Void
    ) {
        self.client = client
        self.incarnation = incarnation
        self.report = report
    }

    deinit { end() }

    func end() {
        state.withLockedValue { state in
            state.isOver = true
            return state.end.take()
        }?()
    }

    /// Asks for the next change.
    func poll() {
        let (version, announced, isOver) = state.withLockedValue { ($0.version, $0.announced, $0.isOver) }
        guard !isOver else { return }
        let end = client.activity(after: version, wait: announced ? .seconds(60) : .milliseconds(200)) { [weak self] answer in
            guard let self else { return }
            Task { await self.take(answer) }
        }
        let isLate = state.withLockedValue { state in
            if !state.isOver { state.end = end }
            return state.isOver
        }
        if isLate { end() }
    }

    private func take(_ answer: SidecarClient.Unread<Activity>) async {
        guard !state.withLockedValue(\.isOver) else { return }
        do throws(SidecarClient.Failure) {
            let activity = try answer.get()
            guard activity.epoch == incarnation.epoch else {
                throw .unreachable("the socket answers for epoch \(activity.epoch) instead of \(incarnation.epoch)")
            }
            try await tell(activity)
        } catch {
            // It does not listen yet, or it hangs; that it has exited is heard of otherwise. As soon as it answers again, that is
            // news, and not only its next change.
            let (pause, announced) = state.withLockedValue { state in
                state.version = nil
                defer { state.pause = min(state.pause * 2, .seconds(1)) }
                return (state.pause, state.announced)
            }
            if announced || pause >= .seconds(1) { report(.unreachable(epoch: incarnation.epoch)) }
            try? await Task.sleep(for: pause)
        }
        poll()
    }

    private func tell(_ activity: Activity) async throws(SidecarClient.Failure) {
        let (version, announced) = state.withLockedValue { ($0.version, $0.announced) }
        if !announced, try await client.isReady() {
            state.withLockedValue { $0.announced = true }
            report(.ready(activity))
        } else if activity.version != version {
            report(.activity(activity))
        }
        let gist = activity.gist
        let (isNewBusy, isNewGist) = state.withLockedValue { state in
            defer {
                state.pause = .milliseconds(2)
                state.version = activity.version
                state.wasBusy = activity.busy
                state.gist = gist
            }
            return (state.wasBusy != activity.busy, state.gist != gist)
        }
        if isNewBusy { await incarnation.note(isBusy: activity.busy) }
        // While an agent only writes, its cursor moves many times a second, and nobody here needs each of them.
        if !isNewGist, announced, activity.version != version { try? await Task.sleep(for: .milliseconds(25)) }
    }
}

extension Activity {
    /// A hash of all that it says, the cursor aside.
    fileprivate var gist: Int {
        var gist = self
        gist.version = 0
        gist.cursor = Cursor(journal: "", sequence: 0)
        return gist.hashValue
    }
}

import SessionModel

/// Says things about objects, without ever making the one who says them wait.
public actor EventRecorder {
    private let events: Objects<Event>
    private let onProblem: @Sendable (KubernetesError) -> Void
    private let drafts: AsyncStream<EventDraft>
    private nonisolated let feed: AsyncStream<EventDraft>.Continuation
    private var series: EventSeries
    private var timer: Task<Void, Never>?

    /// - Parameters:
    ///   - controller: a qualified name, `holdfast.dev/supervisor`.
    ///   - instance: which of its processes.
    ///   - onProblem: an event that could not be written is gone; the next one of its kind is written anew.
    public init(
        _ client: KubernetesClient, controller: String, instance: String,
        onProblem: @escaping @Sendable (KubernetesError) -> Void = { _ in }
    ) {
        self.init(client, series: EventSeries(controller: controller, instance: instance), onProblem: onProblem)
    }

    init(_ client: KubernetesClient, series: EventSeries, onProblem: @escaping @Sendable (KubernetesError) -> Void = { _ in }) {
        events = client.objects(.events, as: Event.self)
        self.series = series
        self.onProblem = onProblem
        // When more is said than can be written, the oldest goes: an event is a courtesy.
        (drafts, feed) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1000))
    }

    public nonisolated func record(_ draft: EventDraft) { feed.yield(draft) }

    /// Writes what is said until the task is cancelled.
    public func run() async {
        for await draft in drafts {
            if let action = series.record(draft, at: .now, wallClock: .wallClock) { await perform(action) }
            schedule()
        }
        timer?.cancel()
    }

    private func schedule() {
        timer?.cancel()
        guard let next = series.nextFlush else { return }
        timer = Task {
            do { try await Task.sleep(until: next, clock: .continuous) } catch { return }
            for action in series.flush(at: .now) { await perform(action) }
            // Not from within the task that it would cancel.
            timer = nil
            schedule()
        }
    }

    private func perform(_ action: EventSeries.Action) async {
        do throws(KubernetesError) {
            switch action {
            case .create(let event): try await events.in(event.metadata.namespace).create(event)
            case .update(let name, let namespace, let update):
                let time = JSONValue.string((try? JSON.decode(String.self, from: JSON.encode(update.lastObservedTime))) ?? "")
                let change: JSONValue = ["series": ["count": .integer(Int64(update.count)), "lastObservedTime": time]]
                try await events.in(namespace).patch(name, change)
            }
        } catch {
            switch action {
            case .create(let event): series.lost(event.metadata.name ?? "")
            case .update(let name, _, _): series.lost(name)
            }
            // The server forgets events after an hour.
            if error.code != .notFound, error.code != .cancelled { onProblem(error) }
        }
    }
}

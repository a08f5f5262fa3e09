import Foundation
import SessionModel

/// What one watch has been told.
struct WatchState: Sendable {
    let kind: Cluster.Kind
    let namespace: String?
    let selection: Selection
    let hasBookmarks: Bool
    /// Changes up to here have been told.
    var seen: Int64
}

/// How a watch begins.
enum WatchOpening {
    case refused(Answer)
    /// A stream that begins with these events; without a state it ends there.
    case begun(WatchState?, events: [JSONValue])
}

extension Cluster {
    func open(_ request: APIRequest, knowsInitialEvents: Bool) -> WatchOpening {
        guard let target = request.target,
            let kind = kind(group: target.group, version: target.version, plural: target.plural)
        else {
            return .refused(.failure(404, "NotFound", "the server could not find the requested resource", details: [:]))
        }
        let query = request.query
        var state = WatchState(
            kind: kind, namespace: target.namespace, selection: Selection(query),
            hasBookmarks: query["allowWatchBookmarks"] == "true", seen: version)
        if query["sendInitialEvents"] == "true" {
            guard knowsInitialEvents, query["resourceVersionMatch"] == "NotOlderThan", state.hasBookmarks else {
                return .refused(
                    .failure(
                        422, "Invalid",
                        "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
                    ))
            }
            let end = bookmark(kind, version).setting("metadata", "annotations", ["k8s.io/initial-events-end": "true"])
            return .begun(state, events: all(state) + [["type": "BOOKMARK", "object": end]])
        }
        let from = query["resourceVersion"] ?? ""
        if from.isEmpty || from == "0" { return .begun(state, events: all(state)) }
        guard let from = Int64(from) else {
            return .refused(.failure(400, "BadRequest", "resourceVersion: Invalid value: \"\(from)\": strconv.ParseUint"))
        }
        if from < compacted {
            let status = Answer.failure(410, "Expired", "too old resource version: \(from) (\(compacted))").body
            return .begun(nil, events: [["type": "ERROR", "object": status]])
        }
        state.seen = from
        return .begun(state, events: [])
    }

    /// What has changed since the watch was last told.
    func events(for state: inout WatchState) -> [JSONValue] {
        let news = changes(of: state.kind.qualifiedName, after: state.seen)
        state.seen = max(state.seen, version)
        return news.compactMap { change in
            guard state.namespace == nil || change.after["metadata"]?["namespace"]?.string == state.namespace else { return nil }
            // What begins or ceases to be selected appears and disappears.
            let was = change.before.map { state.selection.matches($0) } ?? false
            let isNow = !change.isDeletion && state.selection.matches(change.after)
            return switch (was, isNow) {
            case (false, true): ["type": "ADDED", "object": change.after]
            case (true, true): ["type": "MODIFIED", "object": change.after]
            case (true, false): ["type": "DELETED", "object": change.after]
            case (false, false): nil
            }
        }
    }

    /// Nil for a watch from a future that this server does not know: it is told nothing at all. Nor is one of events, of which a
    /// server keeps no watch cache.
    func bookmark(for state: WatchState) -> JSONValue? {
        guard state.hasBookmarks, state.seen <= version, state.kind.qualifiedName != "events" else { return nil }
        return ["type": "BOOKMARK", "object": bookmark(state.kind, version)]
    }

    private func bookmark(_ kind: Kind, _ version: Int64) -> JSONValue {
        [
            "apiVersion": .string(kind.apiVersion), "kind": .string(kind.kind),
            "metadata": ["resourceVersion": .string("\(version)")],
        ]
    }

    private func all(_ state: WatchState) -> [JSONValue] {
        objects.filter { key, object in
            key.kind == state.kind.qualifiedName && (state.namespace == nil || key.namespace == state.namespace)
                && state.selection.matches(object)
        }.sorted { $0.key < $1.key }.map { ["type": "ADDED", "object": $0.value] }
    }
}

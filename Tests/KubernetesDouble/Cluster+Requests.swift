import Foundation
import SessionModel

/// A request as the API server understands it.
public struct APIRequest: Sendable {
    public var method: String
    public var path: String
    public var query: [String: String]
    public var contentType: String?
    public var body: [UInt8]

    public init(_ method: String, _ target: String, contentType: String? = nil, body: [UInt8] = []) {
        let parts = target.split(separator: "?", maxSplits: 1).map(String.init)
        self.method = method
        path = parts[0].removingPercentEncoding ?? parts[0]
        query = [:]
        for pair in (parts.count > 1 ? parts[1] : "").split(separator: "&") {
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            query[halves[0].removingPercentEncoding ?? halves[0]] = halves.count > 1 ? halves[1].removingPercentEncoding : ""
        }
        self.contentType = contentType
        self.body = body
    }

    public var isWatch: Bool { method == "GET" && ["true", "1"].contains(query["watch"]) }

    struct Target {
        var group: String
        var version: String
        var namespace: String?
        var plural: String
        var name: String?
        var subresource: String?
    }

    var target: Target? {
        var parts = path.split(separator: "/").map(String.init)[...]
        guard let root = parts.popFirst(), root == "api" || root == "apis" else { return nil }
        guard let group = root == "api" ? "" : parts.popFirst(), let version = parts.popFirst(), !parts.isEmpty else {
            return nil
        }
        var namespace: String?
        if parts.first == "namespaces", parts.count > 2 {
            namespace = parts[parts.startIndex + 1]
            parts = parts.dropFirst(2)
        }
        guard let plural = parts.popFirst() else { return nil }
        return Target(
            group: group, version: version, namespace: namespace, plural: plural, name: parts.popFirst(),
            subresource: parts.popFirst())
    }
}

extension Cluster {
    /// Answers anything but a watch.
    public mutating func answer(_ request: APIRequest) -> Answer {
        if request.path == "/version" { return Answer(200, ["major": "1", "minor": "36", "gitVersion": "v1.36.2"]) }
        if let list = discovery(request.path) { return list }
        guard let target = request.target,
            let kind = kind(group: target.group, version: target.version, plural: target.plural)
        else { return .failure(404, "NotFound", "the server could not find the requested resource", details: [:]) }
        if let subresource = target.subresource, !(subresource == "status" && kind.hasStatus) {
            return .failure(404, "NotFound", "the server could not find the requested resource", details: [:])
        }
        defer { if request.method != "GET" { collectGarbage() } }
        let namespace = kind.isNamespaced ? target.namespace ?? "" : ""
        guard let name = target.name else {
            switch request.method {
            case "GET": return list(kind, target.namespace, request.query)
            case "POST": return create(kind, namespace, request)
            default: return .failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            }
        }
        let key = Key(kind: kind.qualifiedName, namespace: namespace, name: name)
        guard let object = objects[key] else { return .notFound(kind, name) }
        switch request.method {
        case "GET": return Answer(200, object)
        case "PUT": return update(object, key, kind, target.subresource, request)
        case "PATCH": return patch(object, key, kind, target.subresource, request)
        case "DELETE": return delete(object, key, kind, request)
        default: return .failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        }
    }

    private func discovery(_ path: String) -> Answer? {
        let parts = path.split(separator: "/").map(String.init)
        guard parts.count == (parts.first == "api" ? 2 : 3), ["api", "apis"].contains(parts.first) else { return nil }
        let group = parts[0] == "api" ? "" : parts[1]
        let served = kinds.filter { $0.group == group && $0.version == parts.last }
        guard !served.isEmpty else { return Answer(404, "404 page not found\n") }
        let entries = served.flatMap { kind in
            [kind.plural] + (kind.hasStatus ? ["\(kind.plural)/status"] : [])
        }.map { name -> JSONValue in
            let kind = served.first { name == $0.plural || name.hasPrefix($0.plural + "/") }!
            return [
                "name": .string(name), "singularName": "", "namespaced": .bool(kind.isNamespaced), "kind": .string(kind.kind),
                "verbs": ["get"],
            ]
        }
        return Answer(
            200,
            [
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": .string(served[0].apiVersion),
                "resources": .array(entries),
            ])
    }

    // MARK: Reading

    private mutating func list(_ kind: Kind, _ namespace: String?, _ query: [String: String]) -> Answer {
        var from = ""
        var asOf = version
        if let token = query["continue"] {
            guard let data = Data(base64Encoded: token), let cursor = try? JSON.decode(JSONValue.self, from: data),
                let start = cursor["start"]?.string, let seen = cursor["rv"]?.integer
            else { return .failure(400, "BadRequest", "continue key is not valid") }
            guard seen > compacted || seen == version else {
                return .failure(
                    410, "Expired", "The provided continue parameter is too old to display a consistent list result.")
            }
            from = start
            asOf = seen
        }
        if query["resourceVersionMatch"] == "Exact", let exact = query["resourceVersion"].flatMap({ Int64($0) }),
            exact <= compacted
        {
            return .tooOld
        }
        let selector = Selection(query)
        let all = state(of: kind.qualifiedName, asOf: asOf).filter { key, object in
            (namespace == nil || key.namespace == namespace) && selector.matches(object)
        }.sorted { $0.key < $1.key }.filter { "\($0.key.namespace)/\($0.key.name)" > from }
        let limit = query["limit"].flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil } ?? .max
        var metadata: [String: JSONValue] = ["resourceVersion": .string("\(asOf)")]
        if all.count > limit {
            let last = all[limit - 1].key
            let cursor: JSONValue = [
                "v": "meta.k8s.io/v1", "rv": .integer(asOf), "start": .string("\(last.namespace)/\(last.name)"),
            ]
            metadata["continue"] = .string(((try? JSON.encode(cursor)) ?? Data()).base64EncodedString())
            if selector.isEmpty { metadata["remainingItemCount"] = .integer(Int64(all.count - limit)) }
        }
        // The items of a built-in type's list do not say what they are.
        let items = all.prefix(limit).map {
            kind.isCustom ? $0.value : $0.value.with("kind", Optional.none).with("apiVersion", Optional.none)
        }
        return Answer(
            200,
            [
                "kind": .string(kind.kind + "List"), "apiVersion": .string(kind.apiVersion), "metadata": .object(metadata),
                "items": .array(items),
            ])
    }

    /// The objects as they were, for the pages of a list that began then.
    private func state(of kind: String, asOf version: Int64) -> [Key: JSONValue] {
        var state = objects.filter { $0.key.kind == kind }
        for change in history.reversed() where change.kind == kind && change.version > version {
            let metadata = change.after["metadata"]
            let key = Key(
                kind: kind, namespace: metadata?["namespace"]?.string ?? "", name: metadata?["name"]?.string ?? "")
            state[key] = change.before
        }
        return state
    }

    // MARK: Writing

    private func parse(_ request: APIRequest, _ kind: Kind) -> Result<JSONValue, RequestFailure> {
        guard let value = try? JSON.decode(JSONValue.self, from: Data(request.body)), value.object != nil else {
            return .failure(
                .init(
                    .failure(
                        400, "BadRequest",
                        "the object provided is unrecognized (must be of type \(kind.kind)): couldn't get version/kind; json parse error"
                    )))
        }
        return .success(value)
    }

    struct RequestFailure: Error {
        var answer: Answer
        init(_ answer: Answer) { self.answer = answer }
    }

    private mutating func create(_ kind: Kind, _ namespace: String, _ request: APIRequest) -> Answer {
        var object: JSONValue
        switch parse(request, kind) {
        case .failure(let failure): return failure.answer
        case .success(let value): object = value
        }
        if kind.isNamespaced, objects[Key(kind: "namespaces", namespace: "", name: namespace)] == nil {
            return .failure(
                404, "NotFound", "namespaces \"\(namespace)\" not found",
                details: ["name": .string(namespace), "kind": "namespaces"])
        }
        var metadata = object["metadata"]?.object ?? [:]
        if metadata["name"] == nil, let prefix = metadata["generateName"]?.string {
            let letters = Array("bcdfghjklmnpqrstvwxz2456789")
            metadata["name"] = .string(prefix + String((0..<5).map { _ in letters.randomElement()! }))
        }
        guard let name = metadata["name"]?.string, !name.isEmpty else {
            return .failure(
                422, "Invalid", "\(kind.kind) \"\" is invalid: metadata.name: Required value: name or generateName is required")
        }
        let key = Key(kind: kind.qualifiedName, namespace: namespace, name: name)
        guard objects[key] == nil else {
            return .failure(
                409, "AlreadyExists", "\(kind.qualifiedName) \"\(name)\" already exists", details: kind.details(name))
        }
        metadata.removeValue(forKey: "namespace")
        if kind.isNamespaced { metadata["namespace"] = .string(namespace) }
        metadata["uid"] = .string(UUID().uuidString.lowercased())
        metadata["creationTimestamp"] = .string(now().wholeSeconds)
        if kind.hasGeneration || kind.plural == "pods" { metadata["generation"] = 1 }
        for field in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields"] {
            metadata[field] = nil
        }
        object = object.with("metadata", .object(metadata)).with("apiVersion", .string(kind.apiVersion)).with(
            "kind", .string(kind.kind))
        if kind.hasStatus { object = object.with("status", initialStatus(kind, object)) }
        if let schema = kind.schema { object = object.defaulted(by: schema) }
        if kind.plural == "secrets", object["type"] == nil { object = object.with("type", "Opaque") }
        if request.query["dryRun"] != nil { return Answer(201, object) }
        return Answer(201, put(object, as: key, of: kind))
    }

    private func initialStatus(_ kind: Kind, _ object: JSONValue) -> JSONValue? {
        switch kind.plural {
        case "pods", "persistentvolumeclaims": ["phase": "Pending"]
        case "namespaces": ["phase": "Active"]
        case "customresourcedefinitions":
            [
                "acceptedNames": object["spec"]?["names"] ?? [:],
                "conditions": [
                    [
                        "type": "Established", "status": "True", "reason": "InitialNamesAccepted",
                        "message": "the initial names have been accepted",
                    ]
                ],
                "storedVersions": [],
            ]
        default: nil
        }
    }

    private mutating func update(
        _ old: JSONValue, _ key: Key, _ kind: Kind, _ subresource: String?, _ request: APIRequest
    ) -> Answer {
        switch parse(request, kind) {
        case .failure(let failure): failure.answer
        case .success(let value): write(value, over: old, key, kind, subresource)
        }
    }

    private mutating func patch(
        _ old: JSONValue, _ key: Key, _ kind: Kind, _ subresource: String?, _ request: APIRequest
    ) -> Answer {
        guard request.contentType == "application/merge-patch+json" else {
            return .failure(
                415, "UnsupportedMediaType",
                "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
            )
        }
        guard let change = try? JSON.decode(JSONValue.self, from: Data(request.body)) else {
            return .failure(400, "BadRequest", "the patch is not JSON")
        }
        return write(old.merging(change), over: old, key, kind, subresource)
    }

    private mutating func write(
        _ new: JSONValue, over old: JSONValue, _ key: Key, _ kind: Kind, _ subresource: String?
    ) -> Answer {
        if let version = new["metadata"]?["resourceVersion"]?.string, version != old["metadata"]?["resourceVersion"]?.string {
            return .modified(kind, key.name)
        }
        if let uid = new["metadata"]?["uid"], uid != old["metadata"]?["uid"] {
            return .failure(
                409, "Conflict",
                "Operation cannot be fulfilled on \(kind.qualifiedName) \"\(key.name)\": Precondition failed: UID in precondition: \(uid.string ?? ""), UID in object meta: \(old["metadata"]?["uid"]?.string ?? "")",
                details: kind.details(key.name))
        }
        if subresource == "status" { return Answer(200, put(old.with("status", new["status"]), as: key, of: kind)) }
        var metadata = new["metadata"]?.object ?? [:]
        for field in [
            "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "namespace", "name",
            "resourceVersion",
        ] {
            metadata[field] = old["metadata"]?[field]
        }
        metadata["managedFields"] = nil
        var object = new.with("metadata", .object(metadata))
        if kind.hasStatus { object = object.with("status", old["status"]) }
        if let schema = kind.schema { object = object.defaulted(by: schema) }
        if kind.hasGeneration, object["spec"] != old["spec"], let generation = old["metadata"]?["generation"]?.integer {
            object = object.setting("metadata", "generation", .integer(generation + 1))
        }
        return Answer(200, finish(object, key, kind))
    }

    private mutating func delete(_ old: JSONValue, _ key: Key, _ kind: Kind, _ request: APIRequest) -> Answer {
        let options = (try? JSON.decode(JSONValue.self, from: Data(request.body))) ?? [:]
        for (field, name) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
            guard let wanted = options["preconditions"]?[field]?.string else { continue }
            let actual = old["metadata"]?[field]?.string ?? ""
            guard wanted != actual else { continue }
            let whom = kind.isCustom ? "\(kind.kind).\(kind.group)" : kind.qualifiedName
            return .failure(
                409, "Conflict",
                "Operation cannot be fulfilled on \(whom) \"\(key.name)\": the \(name) in the precondition (\(wanted)) does not match the \(name) in record (\(actual)). The object might have been modified",
                details: kind.details(key.name).with("kind", .string(kind.isCustom ? kind.kind : kind.plural)))
        }
        let left = delete(
            key, policy: options["propagationPolicy"]?.string, gracePeriod: options["gracePeriodSeconds"]?.integer)
        if let left { return Answer(200, left) }
        return Answer(
            200,
            [
                "kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Success",
                "details": kind.details(key.name).with("uid", old["metadata"]?["uid"]),
            ])
    }
}

import FoundationEssentials
public import SessionModel

extension KubernetesClient {
    /// The objects of one type in one namespace.
    /// - Parameter namespace: nil for all of them, and for a type that has none.
    public func objects<Object: KubernetesObject>(
        _ type: ResourceType, as _: Object.Type = GenericObject.self, in namespace: String? = nil
    ) -> Objects<Object> {
        Objects(client: self, type: type, namespace: namespace)
    }

    func json<Answer: Decodable>(_ call: Call, timeout: Duration? = nil) async throws(KubernetesError) -> Answer {
        let body = try await send(call, timeout: timeout)
        do { return try JSON.decode(Answer.self, from: Data(body)) } catch {
            throw KubernetesError(call.summary, notKubernetes: (error as? DecodingError)?.clause ?? "\(error)")
        }
    }
}

/// What can be done with the objects of one type.
public struct Objects<Object: KubernetesObject>: Sendable {
    let client: KubernetesClient
    public let type: ResourceType
    public let namespace: String?

    /// The same in another namespace.
    public func `in`(_ namespace: String?) -> Objects { Objects(client: client, type: type, namespace: namespace) }

    // MARK: Reading

    public func get(_ name: String) async throws(KubernetesError) -> Object {
        try await client.json(call("GET", name))
    }

    /// One page.
    /// - Parameters:
    ///   - continuation: the token of the page before.
    ///   - resourceVersion: nil for the newest state there is, `0` for whatever the server has at hand.
    public func page(
        _ selector: Selector = Selector(), limit: Int? = nil, continuation: String? = nil, resourceVersion: String? = nil,
        timeout: Duration? = nil
    ) async throws(KubernetesError) -> Page<Object> {
        var call = call("GET")
        call.query = selector.query
        if let limit { call.query.append(("limit", "\(limit)")) }
        if let continuation { call.query.append(("continue", continuation)) }
        if let resourceVersion { call.query.append(("resourceVersion", resourceVersion)) }
        return try await client.json(call, timeout: timeout)
    }

    /// All of them, page by page. When the pages' state is too old before the last one has come (410), it begins again, as often as
    /// `attempts` says.
    public func list(
        _ selector: Selector = Selector(), limit: Int = 500, attempts: Int = 3
    ) async throws(KubernetesError) -> Page<Object> {
        var attempt = 1
        while true {
            do throws(KubernetesError) {
                var all = try await page(selector, limit: limit)
                while let next = all.continuation {
                    let more = try await page(selector, limit: limit, continuation: next)
                    all.items += more.items
                    all.broken += more.broken
                    all.metadata = more.metadata
                }
                return all
            } catch {
                guard error.code == .expired, attempt < attempts else { throw error }
                attempt += 1
            }
        }
    }

    /// - Parameters:
    ///   - resourceVersion: changes after it are told; nil for all objects as if they were new, then changes.
    ///   - initialEvents: tells all objects first and ends them with a bookmark that says so.
    ///   - lasting: after so long the server ends it.
    ///   - idleTimeout: the longest silence: a server that is alive sends a bookmark about every minute.
    public func watch(
        _ selector: Selector = Selector(), from resourceVersion: String? = nil, initialEvents: Bool = false,
        lasting: Duration = .seconds(300), idleTimeout: Duration = .seconds(150)
    ) async throws(KubernetesError) -> Watch<Object> {
        var call = call("GET")
        call.query =
            selector.query + [
                ("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", "\(max(1, lasting.components.seconds))"),
            ]
        if let resourceVersion { call.query.append(("resourceVersion", resourceVersion)) }
        if initialEvents { call.query += [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")] }
        return Watch(stream: try await client.open(call, idleTimeout: idleTimeout))
    }

    // MARK: Writing

    /// - Parameter dryRun: checks everything and keeps nothing.
    @discardableResult
    public func create(_ object: Object, dryRun: Bool = false) async throws(KubernetesError) -> Object {
        var call = call("POST")
        call.query = [("fieldValidation", "Strict")] + (dryRun ? [("dryRun", "All")] : [])
        return try await client.json(try carrying(object, call))
    }

    /// Writes all but the status. With a resourceVersion in its metadata it is refused with 409 when the object has changed since.
    @discardableResult
    public func replace(_ object: Object, timeout: Duration? = nil) async throws(KubernetesError) -> Object {
        try await client.json(try carrying(object, call("PUT", name(of: object))), timeout: timeout)
    }

    /// Writes nothing but the status.
    @discardableResult
    public func replaceStatus(_ object: Object) async throws(KubernetesError) -> Object {
        guard object.metadata.resourceVersion != nil else {
            throw KubernetesError(
                .badRequest, "a status is only written with the resourceVersion of the object that it was made from")
        }
        return try await client.json(try carrying(object, call("PUT", name(of: object), "status")))
    }

    /// RFC 7386: members of objects are merged, null removes one, anything else is replaced. A resourceVersion in the patch's
    /// metadata makes it conditional.
    @discardableResult
    public func patch(
        _ name: String, _ patch: JSONValue, subresource: String? = nil
    ) async throws(KubernetesError) -> Object {
        var call = call("PATCH", name, subresource)
        call.contentType = "application/merge-patch+json"
        return try await client.json(try carrying(patch, call))
    }

    /// Asks for its deletion. What has finalizers goes only when they have all been removed.
    /// - Parameters:
    ///   - uid: only if it is still this very object, not another one of the same name.
    ///   - resourceVersion: only if it has not changed since.
    public func delete(
        _ name: String, uid: String? = nil, resourceVersion: String? = nil, propagation: Propagation? = nil,
        gracePeriodSeconds: Int? = nil
    ) async throws(KubernetesError) {
        let options = DeleteOptions(
            gracePeriodSeconds: gracePeriodSeconds, propagationPolicy: propagation,
            preconditions: uid == nil && resourceVersion == nil ? nil : .init(uid: uid, resourceVersion: resourceVersion))
        _ = try await client.send(try carrying(options, call("DELETE", name)))
    }

    // MARK: Paths and bodies

    private func call(_ method: String, _ name: String? = nil, _ subresource: String? = nil) -> KubernetesClient.Call {
        KubernetesClient.Call(method, type.path(namespace: namespace, name: name, subresource: subresource))
    }

    private func name(of object: Object) throws(KubernetesError) -> String {
        guard let name = object.metadata.name, !name.isEmpty else {
            throw KubernetesError(.badRequest, "an object without a name cannot be written")
        }
        return name
    }

    private func carrying(_ body: some Encodable, _ call: KubernetesClient.Call) throws(KubernetesError) -> KubernetesClient.Call
    {
        var call = call
        do { call.body = Array(try JSON.encode(body)) } catch {
            throw KubernetesError(.badRequest, "\(call.summary): the object cannot be written as JSON: \(error)")
        }
        return call
    }
}

/// Which objects: by labels and by the fields that the type offers.
public struct Selector: Sendable, Hashable {
    /// `app=holdfast,epoch!=1`
    public var labels: String?
    /// `metadata.name=x`
    public var fields: String?

    public init(labels: String? = nil, fields: String? = nil) {
        self.labels = labels
        self.fields = fields
    }

    var query: [(name: String, value: String)] {
        [("labelSelector", labels), ("fieldSelector", fields)].compactMap { name, value in value.map { (name, $0) } }
    }
}

/// What becomes of the objects that belong to a deleted one.
public enum Propagation: String, Sendable, Hashable, Codable {
    /// It stays until they are gone.
    case foreground = "Foreground"
    /// They go after it.
    case background = "Background"
    /// They stay.
    case orphan = "Orphan"
}

struct DeleteOptions: Encodable {
    struct Preconditions: Encodable {
        var uid: String?
        var resourceVersion: String?
    }
    var kind = "DeleteOptions"
    var apiVersion = "v1"
    var gracePeriodSeconds: Int?
    var propagationPolicy: Propagation?
    var preconditions: Preconditions?
}

public import HTTPTypes
public import Hummingbird

/// The table of an API: method and path pattern to handler. An unknown path is 404, a known path with another method 405.
///
/// ```swift
/// var routes = Routes()
/// routes.on(.get, "/v1/turns/{id}") { call in try .json(await session.turn(call.parameter("id"))) }
/// routes.on(.get, "/livez", open: true) { _ in .text("ok\n") }
/// ```
public struct Routes: Sendable {
    public typealias Handler = @Sendable (Call) async throws -> Response

    private struct Route: Sendable {
        var method: HTTPRequest.Method
        var pattern: [Substring]
        var isOpen: Bool
        var handler: Handler
    }

    private struct Mount: Sendable {
        var prefix: Substring
        var routes: @Sendable (String) -> Routes
    }

    private var routes: [Route] = []
    private var mounts: [Mount] = []
    private var fallback: Handler?

    public init() {}

    /// Takes every request whose path no route has, instead of a 404.
    public mutating func otherwise(_ handler: @escaping Handler) { fallback = handler }

    /// Hands every path below `/PREFIX/NAME` to the routes of NAME, which see it without that beginning.
    /// - Parameter prefix: one segment.
    public mutating func mount(_ prefix: StaticString, _ routes: @escaping @Sendable (String) -> Routes) {
        mounts.append(Mount(prefix: Substring("\(prefix)"), routes: routes))
    }

    /// - Parameters:
    ///   - pattern: segments separated by slashes; `{name}` matches one segment of any content.
    ///   - open: whether it takes no bearer token: for probes, and for callers that prove themselves in another way.
    public mutating func on(
        _ method: HTTPRequest.Method, _ pattern: StaticString, open: Bool = false, _ handler: @escaping Handler
    ) {
        routes.append(
            Route(
                method: method, pattern: "\(pattern)".split(separator: "/").map { Substring($0) }, isOpen: open, handler: handler)
        )
    }

    /// What there is, as `GET /v1/turns/{id}`; without what is mounted.
    var operations: Set<String> {
        Set(routes.map { "\($0.method.rawValue) /\($0.pattern.joined(separator: "/"))" })
    }

    enum Match {
        /// The handler, what the pattern's names stand for, and whether it takes no token.
        case handler(Handler, [Substring: String], isOpen: Bool)
        /// The path takes other methods.
        case methods([String])
        case none

        /// What there is, and which methods a path takes, is told to callers with a token only.
        var isOpen: Bool { if case .handler(_, _, let isOpen) = self { isOpen } else { false } }
    }

    func match(_ method: HTTPRequest.Method, path: String) -> Match {
        match(method, path.split(separator: "/", omittingEmptySubsequences: true)[...])
    }

    private func match(_ method: HTTPRequest.Method, _ segments: ArraySlice<Substring>) -> Match {
        if let mount = mounts.first(where: { $0.prefix == segments.first }), segments.count > 1 {
            let routes = Self.percentDecoded(segments[segments.startIndex + 1]).map(mount.routes)
            return routes?.match(method, segments.dropFirst(2)) ?? .none
        }
        var allowed: [String] = []
        for route in routes where route.pattern.count == segments.count {
            guard let parameters = Self.parameters(of: segments, in: route.pattern) else { continue }
            if route.method == method || (method == .head && route.method == .get) {
                return .handler(route.handler, parameters, isOpen: route.isOpen)
            }
            allowed.append(route.method.rawValue)
            if route.method == .get { allowed.append("HEAD") }
        }
        if allowed.isEmpty, let fallback { return .handler(fallback, [:], isOpen: false) }
        return allowed.isEmpty ? .none : .methods(allowed)
    }

    /// - Returns: nil for an escape that is cut off or not hexadecimal, and for bytes that are not UTF-8.
    static func percentDecoded(_ segment: Substring) -> String? {
        guard segment.utf8.contains(UInt8(ascii: "%")) else { return String(segment) }
        var bytes: [UInt8] = []
        var rest = segment.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
                return nil
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func parameters(of segments: ArraySlice<Substring>, in pattern: [Substring]) -> [Substring: String]? {
        var parameters: [Substring: String] = [:]
        for (segment, part) in zip(segments, pattern) {
            if part.hasPrefix("{") {
                guard let value = percentDecoded(segment) else { return nil }
                parameters[part.dropFirst().dropLast()] = value
            } else if part != segment {
                return nil
            }
        }
        return parameters
    }
}

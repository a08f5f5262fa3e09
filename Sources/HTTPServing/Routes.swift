public import HTTPTypes
public import Hummingbird

/// The table of an API: method and path pattern to handler. An unknown path is 404, a known path with another method 405.
///
/// ```swift
/// var routes = Routes()
/// routes.on(.get, "/v1/turns/{id}") { call in try .json(await session.turn(call.parameter("id"))) }
/// ```
public struct Routes: Sendable {
    public typealias Handler = @Sendable (Call) async throws -> Response

    private struct Route: Sendable {
        var method: HTTPRequest.Method
        var pattern: [Substring]
        var handler: Handler
    }

    private var routes: [Route] = []
    private var fallback: Handler?

    public init() {}

    /// Takes every request whose path no route has, instead of a 404.
    public mutating func otherwise(_ handler: @escaping Handler) { fallback = handler }

    /// - Parameter pattern: segments separated by slashes; `{name}` matches one segment of any content.
    public mutating func on(_ method: HTTPRequest.Method, _ pattern: StaticString, _ handler: @escaping Handler) {
        routes.append(Route(method: method, pattern: "\(pattern)".split(separator: "/").map { Substring($0) }, handler: handler))
    }

    enum Match {
        /// The handler, and what the pattern's names stand for.
        case handler(Handler, [Substring: String])
        /// The path takes other methods.
        case methods([String])
        case none
    }

    func match(_ method: HTTPRequest.Method, path: String) -> Match {
        let segments = path.split(separator: "/", omittingEmptySubsequences: true)
        var allowed: [String] = []
        for route in routes where route.pattern.count == segments.count {
            guard let parameters = Self.parameters(of: segments, in: route.pattern) else { continue }
            if route.method == method || (method == .head && route.method == .get) { return .handler(route.handler, parameters) }
            allowed.append(route.method.rawValue)
            if route.method == .get { allowed.append("HEAD") }
        }
        if allowed.isEmpty, let fallback { return .handler(fallback, [:]) }
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

    private static func parameters(of segments: [Substring], in pattern: [Substring]) -> [Substring: String]? {
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

/// A whole response.
public struct CurlResponse: Sendable {
    public var status: Int
    public var headers: [(name: String, value: String)]
    public var body: [UInt8]

    public init(status: Int, headers: [(name: String, value: String)], body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// The first header of this name, in whatever case.
    public func header(_ name: String) -> String? { headers.first(named: name) }
}

/// A response whose body is still arriving.
///
/// Letting go of it, or of its body's iterator, ends the transfer.
public struct CurlStreamedResponse: Sendable {
    public var status: Int
    public var headers: [(name: String, value: String)]
    public var body: CurlBody

    /// The first header of this name, in whatever case.
    public func header(_ name: String) -> String? { headers.first(named: name) }
}

extension [(name: String, value: String)] {
    func first(named name: String) -> String? {
        let wanted = name.lowercased()
        return first { $0.name.lowercased() == wanted }?.value
    }
}

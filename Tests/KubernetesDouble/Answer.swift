import Foundation
public import SessionModel

/// What the API server answers to a request that is not a watch.
public struct Answer: Sendable {
    public var status: Int
    public var body: JSONValue
    public var headers: [(name: String, value: String)] = []

    init(_ status: Int, _ body: JSONValue) {
        self.status = status
        self.body = body
    }

    /// A `Status` that says what went wrong.
    static func failure(
        _ code: Int, _ reason: String, _ message: String, details: JSONValue? = nil, retryAfter: Int? = nil
    ) -> Answer {
        var body: [String: JSONValue] = [
            "kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Failure", "message": .string(message),
            "reason": .string(reason), "code": .integer(Int64(code)),
        ]
        body["details"] = retryAfter.map { (details ?? [:]).with("retryAfterSeconds", .integer(Int64($0))) } ?? details
        var answer = Answer(code, .object(body))
        if let retryAfter { answer.headers.append(("Retry-After", "\(retryAfter)")) }
        return answer
    }

    static func notFound(_ kind: Cluster.Kind, _ name: String) -> Answer {
        .failure(404, "NotFound", "\(kind.qualifiedName) \"\(name)\" not found", details: kind.details(name))
    }

    static func modified(_ kind: Cluster.Kind, _ name: String) -> Answer {
        .failure(
            409, "Conflict",
            "Operation cannot be fulfilled on \(kind.qualifiedName) \"\(name)\": the object has been modified; please apply your changes to the latest version and try again",
            details: kind.details(name))
    }

    static let tooOld = Answer.failure(410, "Expired", "The resourceVersion for the provided list is too old.")
}

extension Cluster.Kind {
    func details(_ name: String) -> JSONValue {
        let details: JSONValue = ["name": .string(name), "kind": .string(plural)]
        return group.isEmpty ? details : details.with("group", .string(group))
    }
}

import SessionModel

/// One message of JSON-RPC 2.0, as the other side sent it.
enum JSONRPCMessage: Sendable, Hashable {
    case request(id: JSONValue, method: String, params: JSONValue)
    case notification(method: String, params: JSONValue)
    case response(id: JSONValue, Result<JSONValue, JSONRPCError>)

    /// Nil for a frame that is no such message.
    init?(_ frame: JSONValue) {
        let params = frame["params"] ?? .null
        if let method = frame["method"]?.string {
            if let id = frame["id"] {
                self = .request(id: id, method: method, params: params)
            } else {
                self = .notification(method: method, params: params)
            }
        } else if let id = frame["id"], let error = frame["error"], error != .null {
            self = .response(id: id, .failure(JSONRPCError(error)))
        } else if let id = frame["id"], let result = frame["result"] {
            self = .response(id: id, .success(result))
        } else {
            return nil
        }
    }
}

/// An error that the other side answered.
struct JSONRPCError: Error, Sendable, Hashable {
    /// The codes that ACP gives a meaning.
    static let methodNotFound: Int64 = -32601
    static let invalidParams: Int64 = -32602
    static let authenticationRequired: Int64 = -32000
    static let resourceNotFound: Int64 = -32002
    static let requestCancelled: Int64 = -32800

    var code: Int64
    var message: String

    init(code: Int64, message: String) {
        self.code = code
        self.message = message
    }

    /// Many agents say only “Internal error” and put what happened into `data`: that is made part of the message.
    init(_ error: JSONValue) {
        code = error["code"]?.integer ?? 0
        message = error["message"]?.string ?? "error \(code)"
        let data = error["data"] ?? .null
        let details = data.string ?? data["details"]?.string ?? data["message"]?.string ?? data["error"]?.string
        if let details, !details.isEmpty, !message.contains(details) { message += ": \(details)" }
        message = message.prefix(bytes: 4096)
    }

    var json: JSONValue { ["code": .integer(code), "message": .string(message)] }
}

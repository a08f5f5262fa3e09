import SessionModel

/// The options of a `session/request_permission`, and the answers that can be given to it.
struct PermissionOptions: Sendable, Hashable {
    var options: [InputRequest.Option]

    init(_ params: JSONValue) {
        options = (params["options"]?.array ?? []).compactMap { option in
            guard let id = option["optionId"]?.string else { return nil }
            return InputRequest.Option(id: id, name: option["name"]?.string ?? id, kind: option["kind"]?.string)
        }
    }

    static let cancelled: JSONValue = ["outcome": ["outcome": "cancelled"]]

    static func selected(_ option: String) -> JSONValue { ["outcome": ["outcome": "selected", "optionId": .string(option)]] }

    /// Yes without asking. Once is enough, because the next time it is allowed as well; “always” may write to the user's files.
    var allowance: JSONValue { first(of: "allow_once", "allow_always") }

    var refusal: JSONValue { first(of: "reject_once", "reject_always") }

    private func first(of kinds: String...) -> JSONValue {
        kinds.lazy.compactMap { kind in options.first { $0.kind == kind } }.first.map { Self.selected($0.id) } ?? Self.cancelled
    }
}

/// JSON written by hand, byte for byte what ``JSON/encode(_:)`` writes: for the two documents that every accepted turn costs, its
/// line in the journal and the answer to its client. A general encoder takes ten times as long for them.
///
/// Members are given in the order of their names.
struct JSONText {
    private(set) var bytes: [UInt8] = []
    private var first = true

    init(capacity: Int) { bytes.reserveCapacity(capacity) }

    mutating func object(_ members: (inout JSONText) -> Void) {
        bytes.append(UInt8(ascii: "{"))
        first = true
        members(&self)
        first = false
        bytes.append(UInt8(ascii: "}"))
    }

    mutating func object(_ name: StaticString, _ members: (inout JSONText) -> Void) {
        self.name(name)
        object(members)
    }

    mutating func member(_ name: StaticString, _ value: String?) {
        guard var value else { return }
        self.name(name)
        value.withUTF8 { string($0) }
    }

    mutating func member(_ name: StaticString, _ value: (some CustomStringConvertible)?) { member(name, value?.description) }

    mutating func member(_ name: StaticString, _ value: Int?) {
        guard let value else { return }
        self.name(name)
        bytes.append(contentsOf: String(value).utf8)
    }

    mutating func member(_ name: StaticString, _ value: Digest128) {
        self.name(name)
        value.digits.withUnsafeBufferPointer { string($0) }
    }

    mutating func member(_ name: StaticString, _ value: Bool?) {
        guard let value else { return }
        self.name(name)
        bytes.append(contentsOf: (value ? "true" : "false").utf8)
    }

    private mutating func name(_ name: StaticString) {
        if !first { bytes.append(UInt8(ascii: ",")) }
        first = false
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
    }

    private mutating func string(_ text: UnsafeBufferPointer<UInt8>) {
        bytes.append(UInt8(ascii: "\""))
        // Runs of plain bytes go as one.
        var start = 0
        for (index, byte) in text.enumerated() where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
            bytes.append(contentsOf: text[start..<index])
            bytes.append(contentsOf: Self.escaped(byte).utf8)
            start = index + 1
        }
        bytes.append(contentsOf: text[start...])
        bytes.append(UInt8(ascii: "\""))
    }

    private static func escaped(_ byte: UInt8) -> String {
        switch byte {
        case UInt8(ascii: "\""): "\\\""
        case UInt8(ascii: "\\"): "\\\\"
        case 0x08: "\\b"
        case 0x0c: "\\f"
        case 0x0a: "\\n"
        case 0x0d: "\\r"
        case 0x09: "\\t"
        default: (byte < 16 ? "\\u000" : "\\u00") + String(byte, radix: 16)
        }
    }
}

extension TurnQueued {
    /// What ``JSON/encode(_:)`` gives, sooner.
    public var json: [UInt8] {
        var text = JSONText(capacity: request.prompt.utf8.count + 256)
        text.object { text in
            if let key {
                text.object("key") { text in
                    text.member("key", key.key)
                    text.member("request", key.request)
                }
            }
            text.object("request") { text in
                text.member("effort", request.effort)
                text.member("model", request.model)
                text.member("onInterrupt", request.onInterrupt)
                text.member("prompt", request.prompt)
                text.member("raw", request.raw)
                text.member("supersedeKey", request.supersedeKey)
                text.member("timeout", request.timeout)
                text.member("whenBusy", request.whenBusy?.rawValue)
            }
        }
        return text.bytes
    }
}

extension Turn {
    /// What ``JSON/encode(_:)`` gives, sooner for a turn that the agent has not worked on.
    public func json() throws -> [UInt8] {
        guard input == nil, results == nil, interruption == nil, notices == nil else { return Array(try JSON.encode(self)) }
        var text = JSONText(capacity: prompt.utf8.count + 512)
        text.object { text in
            text.member("attempts", attempts)
            text.member("cancelRequested", cancelRequested)
            text.member("createdAt", createdAt)
            text.member("cursor", cursor)
            text.member("effort", effort)
            text.member("endedAt", endedAt)
            text.member("id", id)
            text.member("message", message)
            text.member("model", model)
            text.member("onInterrupt", onInterrupt)
            text.member("position", position)
            text.member("prompt", prompt)
            text.member("promptBytes", promptBytes)
            text.member("raw", raw)
            text.member("reason", reason?.rawValue)
            text.member("startedAt", startedAt)
            text.member("state", state.rawValue)
            text.member("supersedeKey", supersedeKey)
            text.member("timeout", timeout)
            text.member("whenBusy", whenBusy.rawValue)
        }
        return text.bytes
    }
}

import SessionModel

/// What a Swift type reads from JSON, found by letting it read: the decoder notes which members are asked for, of which types, and
/// whether they may be missing, and hands out samples.
///
/// So a definition cannot say anything else than the types: whatever field is added to them is in it.
indirect enum Shape: Sendable, Hashable {
    case string
    /// A text of a form that the named type reads.
    case format(String)
    /// One of these.
    case words([String])
    case integer(min: Int64?)
    case number
    case boolean
    case array(Shape)
    /// An object with members of any name.
    case map(Shape)
    /// - Parameter required: members that may not be missing.
    case object([String: Shape], required: Set<String>)
    /// Anything.
    case any

    /// - Parameter samples: texts that types accept which read themselves from one text.
    static func of<Value: Decodable>(_ type: Value.Type, samples: [SchemaSample]) throws -> Shape {
        let probe = Probe(samples: samples)
        _ = try probe.value(of: type)
        return probe.shape ?? .any
    }
}

/// A text that a type accepts which is written as one text: `TimeSpan`, `SessionKey` …
struct SchemaSample: Sendable {
    let type: ObjectIdentifier
    let text: String

    init(_ type: (some Decodable).Type, _ text: String) {
        self.type = ObjectIdentifier(type)
        self.text = text
    }
}

/// A decoder for one value.
private final class Probe: Decoder {
    let samples: [SchemaSample]
    let codingPath: [any CodingKey]
    let userInfo: [CodingUserInfoKey: Any] = [:]
    /// What the value turned out to be.
    var shape: Shape?
    /// What is read where a text is asked for.
    var text = "x"

    init(samples: [SchemaSample], codingPath: [any CodingKey] = []) {
        self.samples = samples
        self.codingPath = codingPath
    }

    func value<Value: Decodable>(of type: Value.Type) throws -> Value {
        if let words = Self.words(of: type) {
            shape = .words(words.map(\.text))
            return words[0].value as! Value
        }
        if type == JSONValue.self {
            shape = .any
            return JSONValue.null as! Value
        }
        if let sample = samples.first(where: { $0.type == ObjectIdentifier(type) }) {
            text = sample.text
            shape = .format("\(type)")
        }
        do { return try Value(from: self) } catch DecodingError.dataCorrupted(let context) where shape == .string {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: context.codingPath,
                    debugDescription:
                        "\(type) takes only certain texts: make it CaseIterable, or add one to CustomResources.samples"))
        }
    }

    /// The cases of an enumeration that is written as a text.
    private static func words(of type: any Decodable.Type) -> [(text: String, value: Any)]? {
        guard let type = type as? any CaseIterable.Type else { return nil }
        return cases(of: type)
    }

    private static func cases<Value: CaseIterable>(of type: Value.Type) -> [(text: String, value: Any)]? {
        let cases = type.allCases.compactMap { value in
            ((value as? any RawRepresentable)?.rawValue as? String).map { (text: $0, value: value as Any) }
        }
        return cases.isEmpty ? nil : cases
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        if case .object? = shape {} else { shape = .object([:], required: []) }
        // The standard library's keys of a dictionary.
        if "\(type)" == "_DictionaryCodingKey" { shape = .map(.any) }
        return KeyedDecodingContainer(Members<Key>(probe: self))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer { Elements(probe: self) }
    func singleValueContainer() throws -> any SingleValueDecodingContainer { Single(probe: self) }

    func child(_ key: any CodingKey) -> Probe { Probe(samples: samples, codingPath: codingPath + [key]) }

    func note(_ name: String, _ member: Shape?, isRequired: Bool) {
        if case .map? = shape { shape = .map(member ?? .any) }
        guard case .object(var members, var required)? = shape else { return }
        members[name] = member ?? .any
        if isRequired { required.insert(name) }
        shape = .object(members, required: required)
    }
}

private struct AnyKey: CodingKey {
    var stringValue: String
    var intValue: Int?
    init(stringValue: String) { self.stringValue = stringValue }
    init(intValue: Int) {
        stringValue = "\(intValue)"
        self.intValue = intValue
    }
}

private struct Members<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let probe: Probe
    var codingPath: [any CodingKey] { probe.codingPath }
    /// A dictionary asks for the keys that there are: one is enough to see its values.
    var allKeys: [Key] { [Key(stringValue: "key")].compactMap(\.self) }

    func contains(_: Key) -> Bool { true }
    func decodeNil(forKey _: Key) throws -> Bool { false }

    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
        let child = probe.child(key)
        let value = try child.value(of: type)
        probe.note(key.stringValue, child.shape, isRequired: true)
        return value
    }

    // The standard library would ask for these by `decode`, and they would seem to be required.
    func decodeIfPresent(_ type: Bool.Type, forKey key: Key) throws -> Bool? { try optional(type, key) }
    func decodeIfPresent(_ type: String.Type, forKey key: Key) throws -> String? { try optional(type, key) }
    func decodeIfPresent(_ type: Double.Type, forKey key: Key) throws -> Double? { try optional(type, key) }
    func decodeIfPresent(_ type: Float.Type, forKey key: Key) throws -> Float? { try optional(type, key) }
    func decodeIfPresent(_ type: Int.Type, forKey key: Key) throws -> Int? { try optional(type, key) }
    func decodeIfPresent(_ type: Int8.Type, forKey key: Key) throws -> Int8? { try optional(type, key) }
    func decodeIfPresent(_ type: Int16.Type, forKey key: Key) throws -> Int16? { try optional(type, key) }
    func decodeIfPresent(_ type: Int32.Type, forKey key: Key) throws -> Int32? { try optional(type, key) }
    func decodeIfPresent(_ type: Int64.Type, forKey key: Key) throws -> Int64? { try optional(type, key) }
    func decodeIfPresent(_ type: UInt.Type, forKey key: Key) throws -> UInt? { try optional(type, key) }
    func decodeIfPresent(_ type: UInt8.Type, forKey key: Key) throws -> UInt8? { try optional(type, key) }
    func decodeIfPresent(_ type: UInt16.Type, forKey key: Key) throws -> UInt16? { try optional(type, key) }
    func decodeIfPresent(_ type: UInt32.Type, forKey key: Key) throws -> UInt32? { try optional(type, key) }
    func decodeIfPresent(_ type: UInt64.Type, forKey key: Key) throws -> UInt64? { try optional(type, key) }
    func decodeIfPresent<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value? { try optional(type, key) }

    private func optional<Value: Decodable>(_ type: Value.Type, _ key: Key) throws -> Value? {
        let child = probe.child(key)
        let value = try child.value(of: type)
        probe.note(key.stringValue, child.shape, isRequired: false)
        return value
    }

    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type, forKey key: Key) throws -> KeyedDecodingContainer<Nested> {
        throw unsupported("a nested container")
    }
    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        throw unsupported("a nested container")
    }
    func superDecoder() throws -> any Decoder { throw unsupported("a class") }
    func superDecoder(forKey _: Key) throws -> any Decoder { throw unsupported("a class") }

    private func unsupported(_ what: String) -> DecodingError {
        .dataCorrupted(.init(codingPath: codingPath, debugDescription: "a schema cannot be made of \(what)"))
    }
}

private struct Elements: UnkeyedDecodingContainer {
    let probe: Probe
    var codingPath: [any CodingKey] { probe.codingPath }
    var count: Int? { 1 }
    var isAtEnd: Bool { currentIndex > 0 }
    var currentIndex = 0

    init(probe: Probe) { self.probe = probe }

    mutating func decodeNil() throws -> Bool { false }

    mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        let child = probe.child(AnyKey(intValue: currentIndex))
        let value = try child.value(of: type)
        currentIndex += 1
        probe.shape = .array(child.shape ?? .any)
        return value
    }

    mutating func nestedContainer<Nested: CodingKey>(keyedBy _: Nested.Type) throws -> KeyedDecodingContainer<Nested> {
        throw DecodingError.dataCorrupted(.init(codingPath: codingPath, debugDescription: "a nested container"))
    }
    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
        throw DecodingError.dataCorrupted(.init(codingPath: codingPath, debugDescription: "a nested container"))
    }
    mutating func superDecoder() throws -> any Decoder {
        throw DecodingError.dataCorrupted(.init(codingPath: codingPath, debugDescription: "a class"))
    }
}

private struct Single: SingleValueDecodingContainer {
    let probe: Probe
    var codingPath: [any CodingKey] { probe.codingPath }

    func decodeNil() -> Bool { false }
    func decode(_: Bool.Type) throws -> Bool { note(.boolean, false) }
    func decode(_: String.Type) throws -> String { note(.string, probe.text) }
    func decode(_: Double.Type) throws -> Double { note(.number, 1) }
    func decode(_: Float.Type) throws -> Float { note(.number, 1) }
    func decode(_: Int.Type) throws -> Int { note(.integer(min: nil), 1) }
    func decode(_: Int8.Type) throws -> Int8 { note(.integer(min: nil), 1) }
    func decode(_: Int16.Type) throws -> Int16 { note(.integer(min: nil), 1) }
    func decode(_: Int32.Type) throws -> Int32 { note(.integer(min: nil), 1) }
    func decode(_: Int64.Type) throws -> Int64 { note(.integer(min: nil), 1) }
    func decode(_: UInt.Type) throws -> UInt { note(.integer(min: 0), 1) }
    func decode(_: UInt8.Type) throws -> UInt8 { note(.integer(min: 0), 1) }
    func decode(_: UInt16.Type) throws -> UInt16 { note(.integer(min: 0), 1) }
    func decode(_: UInt32.Type) throws -> UInt32 { note(.integer(min: 0), 1) }
    func decode(_: UInt64.Type) throws -> UInt64 { note(.integer(min: 0), 1) }
    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try probe.value(of: type) }

    private func note<Value>(_ shape: Shape, _ value: Value) -> Value {
        if probe.shape == nil { probe.shape = shape }
        return value
    }
}

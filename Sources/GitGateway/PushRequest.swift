/// What a push asks for: the beginning of a receive-pack request, before the pack.
struct PushRequest: Sendable, Hashable {
    /// One ref that is to be made, moved or removed.
    struct Command: Sendable, Hashable {
        /// Object names; all zeros where there is no object.
        var old: String
        var new: String
        var ref: String

        var isDeletion: Bool { new.allSatisfy { $0 == "0" } }

        init(old: String, new: String, ref: String) {
            self.old = old
            self.new = new
            self.ref = ref
        }
    }

    /// None in the request by which git asks whether it may push at all.
    var commands: [Command] = []
    var capabilities: Set<String> = []

    init() {}

    /// Whether the answer is to be a report of each ref, and in which packets.
    var wantsReport: Bool { capabilities.contains("report-status") || capabilities.contains("report-status-v2") }
    var hasSideBand: Bool { capabilities.contains("side-band-64k") }
}

/// Reads a ``PushRequest`` from bytes that arrive in parts. What git would read in another way is refused here: the forge must see
/// the same commands as the policy.
struct PushRequestParser: Sendable {
    /// A push of more refs than this is no agent's work.
    static let maxCommands = 1000
    static let maxBytes = 1 << 20

    /// Everything that was fed, to be sent on.
    private(set) var bytes: [UInt8] = []
    private var reader = PacketReader()
    private var request = PushRequest()

    init() {}

    /// - Returns: the request, once its last command has been read. What follows in `bytes` is the pack.
    mutating func feed(_ part: some Collection<UInt8>) throws(MalformedPacket) -> PushRequest? {
        bytes += part
        reader.append(part)
        while let packet = try reader.next() {
            switch packet {
            case .flush: return request
            case .data(let line): try read(line)
            case .delimiter, .responseEnd: throw MalformedPacket("a push has a packet that does not belong there")
            }
        }
        guard bytes.count <= Self.maxBytes else {
            throw MalformedPacket("the list of refs to push has more than \(Self.maxBytes) bytes")
        }
        return nil
    }

    private mutating func read(_ line: [UInt8]) throws(MalformedPacket) {
        var line = line[...]
        if line.last == UInt8(ascii: "\n") { line.removeLast() }
        if line.starts(with: "shallow ".utf8) {
            guard Self.isObjectName(line.dropFirst(8)) else { throw MalformedPacket("a shallow line has no object name") }
            return
        }
        if line.starts(with: "push-cert".utf8) {
            throw MalformedPacket("signed pushes are not taken: push without --signed")
        }
        if let zero = line.firstIndex(of: 0) {
            guard request.commands.isEmpty else { throw MalformedPacket("capabilities come after another line than the first") }
            let words = line[(zero + 1)...].split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
            request.capabilities = Set(words)
            line = line[..<zero]
        }
        guard request.commands.count < Self.maxCommands else {
            throw MalformedPacket("a push of more than \(Self.maxCommands) refs is not taken")
        }
        let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 2, omittingEmptySubsequences: false)
        guard fields.count == 3, Self.isObjectName(fields[0]), Self.isObjectName(fields[1]), fields[0].count == fields[1].count,
            let ref = String(validating: fields[2], as: UTF8.self), Self.isRef(ref)
        else { throw MalformedPacket("a push has a line that is not “old new ref”") }
        let (old, new) = (String(decoding: fields[0], as: UTF8.self), String(decoding: fields[1], as: UTF8.self))
        request.commands.append(PushRequest.Command(old: old, new: new, ref: ref))
    }

    private static func isObjectName(_ bytes: some Collection<UInt8>) -> Bool {
        (bytes.count == 40 || bytes.count == 64)
            && bytes.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
    }

    /// No control characters and no spaces, which would look like something else in messages. The forge checks the rest.
    private static func isRef(_ ref: String) -> Bool {
        ref.hasPrefix("refs/") && ref.utf8.count <= 1024 && ref.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f }
    }
}

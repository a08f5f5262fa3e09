import SessionModel
import Support
import Testing

@testable import GitGateway

@Suite struct PacketTests {
    @Test func packetsComeOutAsTheyWentIn() throws {
        let packets: [Packet] = [
            Packet("hello\n"), .flush, .data([]), .delimiter, .responseEnd,
            .data([UInt8](repeating: 7, count: Packet.maxPayload)),
        ]
        let bytes = packets.flatMap(\.bytes)
        #expect(bytes.starts(with: "000ahello\n0000000400010002fff0".utf8))
        for step in [1, 3, 4, 7, 4096, bytes.count] {
            var reader = PacketReader()
            var found: [Packet] = []
            for start in stride(from: 0, to: bytes.count, by: step) {
                reader.append(bytes[start..<min(start + step, bytes.count)])
                while let packet = try reader.next() { found.append(packet) }
            }
            #expect(found == packets, "in parts of \(step)")
        }
    }

    @Test(arguments: ["0003", "fff1", "ffff", "+00f", " 00f", "0x0f", "00g0", "\u{0}\u{0}\u{0}\u{0}"])
    func whatIsNotAPacketIsAnError(text: String) {
        var reader = PacketReader()
        reader.append(text.utf8)
        #expect(throws: MalformedPacket.self) { try reader.next() }
    }

    @Test func anyBytesAreReadOrRefused() {
        var random = SeededRandom(seed: 11)
        for _ in 0..<2000 {
            var reader = PacketReader()
            var parser = PushRequestParser()
            let bytes = (0..<Int.random(in: 0...64, using: &random)).map { _ in
                // Often what a packet is made of.
                Bool.random(using: &random)
                    ? UInt8(ascii: "0") + UInt8.random(in: 0...9, using: &random) : .random(in: 0...255, using: &random)
            }
            reader.append(bytes)
            while let packet = try? reader.next() { #expect(packet.bytes.count >= 4) }
            _ = try? parser.feed(bytes)
        }
    }
}

@Suite struct PushRequestTests {
    static let (zero, one, two) = (
        String(repeating: "0", count: 40), String(repeating: "1", count: 40), String(repeating: "2", count: 40)
    )

    private func parse(_ lines: [String], flush: Bool = true, rest: String = "") throws -> PushRequest? {
        var parser = PushRequestParser()
        let bytes = lines.flatMap { Packet($0).bytes } + (flush ? Packet.flush.bytes : []) + Array(rest.utf8)
        var request: PushRequest?
        // A byte at a time, as the slowest client sends it.
        for byte in bytes where request == nil { request = try parser.feed([byte]) }
        return request
    }

    @Test func commandsAndCapabilitiesAreRead() throws {
        let request = try #require(
            try parse(
                [
                    "shallow \(Self.two)\n", "\(Self.zero) \(Self.one) refs/heads/a\0 report-status side-band-64k agent=git/2\n",
                    "\(Self.one) \(Self.zero) refs/tags/v1",
                ], rest: "PACK…"))
        #expect(
            request.commands == [
                .init(old: Self.zero, new: Self.one, ref: "refs/heads/a"),
                .init(old: Self.one, new: Self.zero, ref: "refs/tags/v1"),
            ])
        #expect(request.commands.map(\.isDeletion) == [false, true])
        #expect(request.wantsReport && request.hasSideBand)
        #expect(request.capabilities.contains("agent=git/2"))
    }

    @Test func allBytesAreKeptToBeSentOn() throws {
        var parser = PushRequestParser()
        let bytes = Packet("\(Self.zero) \(Self.one) refs/heads/a").bytes + Packet.flush.bytes + Array("PACK".utf8)
        #expect(try parser.feed(bytes)?.commands.count == 1)
        #expect(parser.bytes == bytes)
    }

    @Test func aQuestionHasNoCommands() throws { #expect(try parse([])?.commands.isEmpty == true) }
    @Test func whatIsCutOffIsNoRequestYet() throws {
        #expect(try parse(["\(Self.zero) \(Self.one) refs/heads/a"], flush: false) == nil)
    }

    /// What git would read in another way than this parser, or not at all.
    @Test(arguments: [
        ["x"], [""], ["\(zero) \(one)"], ["\(zero)  \(one) refs/heads/a"], ["\(zero) \(one) heads/a"], ["\(zero) \(one) HEAD"],
        ["\(zero) \(one)0 refs/heads/a"], ["\(zero.uppercased()) \(one.dropLast())A refs/heads/a"],
        ["\(zero) \(one) refs/heads/a\0a", "\(zero) \(one) refs/heads/b\0b"], ["\(zero) \(one) refs/heads/a b"],
        ["\(zero) \(one) refs/heads/a\u{7f}"], ["\(zero) \(one) refs/heads/a\nx"], ["shallow x"],
        ["shallow \(one)\0report-status"],
        ["push-cert\0report-status"], ["\(zero) \(one) refs/heads/\(String(repeating: "x", count: 2000))"],
    ])
    func whatCouldBeReadInAnotherWayIsRefused(lines: [String]) {
        #expect(throws: MalformedPacket.self) { try parse(lines) }
    }

    @Test func tooMuchIsRefused() {
        let line = "\(Self.zero) \(Self.one) refs/heads/a"
        #expect(throws: MalformedPacket.self) { try parse(Array(repeating: line, count: PushRequestParser.maxCommands + 1)) }
        #expect(throws: MalformedPacket.self) {
            var parser = PushRequestParser()
            while try parser.feed(Packet("shallow \(Self.one)").bytes) == nil {}
        }
    }
}

@Suite struct PushPolicyTests {
    private static let (zero, one) = (PushRequestTests.zero, PushRequestTests.one)
    private let rules = PushRules(branches: ["holdfast/issue-7", "feature", "main", "release/1"], protected: ["release/*"])

    private func refusal(_ ref: String, delete: Bool = false, _ rules: PushRules) -> String? {
        rules.refusal(
            of: .init(old: Self.one, new: delete ? Self.zero : Self.one, ref: ref), defaultBranch: "main")
    }

    @Test func onlyTheSessionsBranchesPass() {
        #expect(refusal("refs/heads/holdfast/issue-7", rules) == nil)
        #expect(refusal("refs/heads/feature", rules) == nil)
        for ref in [
            "refs/heads/holdfast/issue-8", "refs/heads/holdfast/issue-70", "refs/heads/Feature", "refs/heads/feature/x",
            "refs/heads/", "refs/pull/1/head", "refs/notes/x", "refs/heads/refs/heads/feature", "refs/headsfeature",
        ] { #expect(refusal(ref, rules) != nil, "\(ref)") }
        #expect(refusal("refs/heads/feature", PushRules()) == "this session may push nothing")
    }

    @Test func theDefaultBranchAndProtectedOnesNeverPass() {
        #expect(refusal("refs/heads/main", rules)?.contains("default branch") == true)
        #expect(refusal("refs/heads/release/1", rules)?.contains("protected branch") == true)
    }

    @Test func tagsAndDeletionsPassOnlyWhereAllowed() {
        #expect(refusal("refs/tags/v1", rules) == "this session may not push tags")
        #expect(refusal("refs/heads/feature", delete: true, rules) == "this session may not delete branches")
        var more = rules
        more.tags = true
        #expect(refusal("refs/tags/v1", more) == nil)
        #expect(refusal("refs/tags/v1", delete: true, more) == "this session may not delete tags")
        more.deletions = true
        #expect(refusal("refs/tags/v1", delete: true, more) == nil)
        #expect(refusal("refs/heads/feature", delete: true, more) == nil)
        #expect(refusal("refs/heads/main", delete: true, more) != nil)
    }
}

@Suite struct PushReportTests {
    private static let request: PushRequest = {
        var request = PushRequest()
        request.commands = [.init(old: PushRequestTests.zero, new: PushRequestTests.one, ref: "refs/heads/a")]
        request.capabilities = ["report-status"]
        return request
    }()

    @Test(arguments: [true, false]) func aRefusalCanBeReadAgain(sideBand: Bool) {
        var request = Self.request
        if sideBand { request.capabilities.insert("side-band-64k") }
        let bytes = PushReport.refusal(of: request, reasons: ["refs/heads/a": "no"], hint: "why")
        #expect(PushReport.results(bytes, sideBand: sideBand) == ["refs/heads/a": .refused("no")])
        #expect(PushReport.results(bytes.dropLast(8), sideBand: sideBand) == nil, "a part is no report")
    }

    @Test func aReportIsFoundAmongProgress() {
        let report = Packet("unpack ok\n").bytes + Packet("ok refs/heads/a\n").bytes + Packet("option refname x\n").bytes
        let (first, second) = (Array(report[..<20]), Array(report[20...]) + Packet.flush.bytes)
        let bytes =
            Packet.data([2] + Array("Resolving".utf8)).bytes + Packet.data([1] + first).bytes
            + Packet.data([2] + Array("deltas".utf8)).bytes + Packet.data([1] + second).bytes + Packet.flush.bytes
        #expect(PushReport.results(bytes, sideBand: true) == ["refs/heads/a": .ok])
    }
}

import Testing

@testable import Workspace

@Suite struct GitStatusTests {
    private func status(_ records: [[UInt8]], chunk: Int = .max) -> GitStatus {
        var status = GitStatus()
        var bytes: ArraySlice<UInt8> = ArraySlice(records.flatMap { record -> [UInt8] in record + [0] })
        while !bytes.isEmpty {
            status.consume([UInt8](bytes.prefix(chunk)))
            bytes = bytes.dropFirst(chunk)
        }
        return status
    }

    private func utf8(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test(arguments: [1, 3, 7, 1000])
    func everyKindOfRecordIsReadInChunksOfAnySize(chunk: Int) {
        let zero = String(repeating: "0", count: 40)
        let status = status(
            [
                utf8("# branch.oid \(zero)"), utf8("# branch.head feature/ä b"), utf8("# branch.upstream origin/x"),
                utf8("1 .M N... 100644 100644 100644 \(zero) \(zero) with a space"),
                utf8("2 R. N... 100644 100644 100644 \(zero) \(zero) R100 new name"), utf8("? old name"),
                utf8("u UU N... 100644 100644 100644 100644 \(zero) \(zero) \(zero) both"),
                utf8("? ") + [0x66, 0xFF, 0x0A, 0x67],
            ], chunk: chunk)
        #expect(status.head == zero)
        #expect(status.branch == "feature/ä b")
        #expect(status.changed.paths == ["with a space", "new name", "both"])
        #expect(status.untracked.paths == ["f\u{FFFD}\ng"])
    }

    @Test func detachedAndUnbornAreNil() {
        let status = status([utf8("# branch.oid (initial)"), utf8("# branch.head (detached)")])
        #expect(status.head == nil && status.branch == nil)
    }

    @Test func aHundredFilesAreListedAndAllAreCounted() {
        let status = status((0..<5000).map { utf8("? file\($0)") })
        #expect(status.untracked.paths.count == 100 && status.untracked.count == 5000)
    }

    @Test(arguments: ["", "1", "1 ", "2 R.", "# branch.oid", "x", "\0\0"])
    func nonsenseDoesNoHarm(text: String) {
        #expect(status([utf8(text)]).head == nil)
    }
}

@Suite struct RedactionTests {
    @Test(arguments: [
        ("https://me:hunter22@host/x", "https://***@host/x"),
        ("fatal: 'https://me:p@ss@host:8080/x' and ssh://git@host", "fatal: 'https://***@host:8080/x' and ssh://***@host"),
        ("https://host/a@b https://host/?mail=a@b", "https://host/a@b https://host/?mail=a@b"),
        ("git@host:acme/widgets", "git@host:acme/widgets"), ("://", "://"), ("", ""),
    ])
    func userInformationIsTakenOut(text: String, expected: String) {
        #expect(Redaction(url: nil)(text) == expected)
    }

    @Test func theSecretItselfIsTakenOutWhereverItStands() {
        #expect(Redaction(url: "https://me:hunter22@host/x")("password hunter22 refused") == "password *** refused")
        #expect(Redaction(url: "https://ghp_token@host/x")("ghp_token") == "***")
        #expect(Redaction(url: "ssh://gituser@host/x")("gituser") == "gituser")
    }
}

@Suite struct BoundedOutputTests {
    @Test func aFloodKeepsItsBeginningAndItsEnd() {
        var output = BoundedOutput()
        output.append(Array("begin ".utf8))
        for _ in 0..<1000 { output.append([UInt8](repeating: UInt8(ascii: "."), count: 999)) }
        output.append(Array(" end".utf8))
        #expect(output.text.hasPrefix("begin ...") && output.text.hasSuffix("... end"))
        #expect(output.text.utf8.count < 66_000)
        #expect(output.text.contains("[… \(output.total - 65_536) bytes left out …]"))
    }

    @Test func shortOutputIsWhole() {
        var output = BoundedOutput()
        output.append(Array("one\r\n\ntwo".utf8))
        #expect(output.text == "one\r\n\ntwo")
        #expect(output.lastLines() == "one\ntwo")
    }

    @Test func progressIsNotRepeated() {
        var output = BoundedOutput()
        output.append(Array("Receiving: 1%\rReceiving: 100%\nfatal: x\n".utf8))
        #expect(output.lastLines() == "Receiving: 100%\nfatal: x")
    }
}

import SessionModel
import Support
import Testing

@Suite struct SessionKeyTests {
    private func randomKey(_ random: inout SeededRandom) throws -> SessionKey {
        let letters = Array("abcxyzABCXYZ019._-")
        func word(_ longest: Int) -> String {
            String((0..<Int.random(in: 1...longest, using: &random)).map { _ in letters.randomElement(using: &random)! })
        }
        let repository = random.pick([
            "github.com/\(word(39))/\(word(100))", "\(word(20))/\(word(20))", "/\(word(60))/\(word(60))",
            "file:///\(word(9))/\(word(9))",
            "git.example.com:8443/\(word(10))/\(word(10))/\(word(10))", "/srv/\(word(5))/héé漢/\(word(8))",
        ])
        let number = random.pick([1, 12, 999_999, Int.max, Int.random(in: 1...100_000, using: &random)])
        let profile = random.oneIn(2) ? nil : word(63)
        return switch Int.random(in: 0..<3, using: &random) {
        case 0: try SessionKey(.task(uid: word(128)), profile: profile)
        case 1: try SessionKey(.pullRequest(repository: repository, number: number), profile: profile)
        default: try SessionKey(.issue(repository: repository, number: number), profile: profile)
        }
    }

    @Test func whatIsPrintedIsReadAgain() throws {
        var random = SeededRandom(seed: 1)
        for _ in 0..<3000 {
            let key = try randomKey(&random)
            #expect(try SessionKey(parsing: key.description) == key)
            #expect(try JSON.decode(SessionKey.self, from: JSON.encode(key)) == key)
        }
    }

    @Test func namesAreDNSLabelsAndDifferentKeysHaveDifferentNames() throws {
        var random = SeededRandom(seed: 2)
        var names: [String: SessionKey] = [:]
        for _ in 0..<3000 {
            let key = try randomKey(&random)
            let name = key.name
            #expect(name.utf8.count <= 63)
            #expect(name.wholeMatch(of: #/[a-z0-9]([a-z0-9-]*[a-z0-9])?/#) != nil, "\(name)")
            #expect(name.first?.isLetter == true)
            #expect(names.updateValue(key, forKey: name).map { $0 == key } ?? true, "\(key) shares \(name)")
        }
    }

    @Test func gitHubDoesNotTellUpperFromLowerCase() throws {
        let texts = ["pr:acme/widgets#1", "pr:Acme/Widgets#1", "pr:GitHub.com/ACME/widgets#1"]
        #expect(try Set(texts.map { try SessionKey(parsing: $0).name }).count == 1)
    }

    @Test func theWholeKeyCountsForTheName() throws {
        let long = String(repeating: "a", count: 200)
        let texts = [
            "pr:acme/widgets#1", "pr:acme/widgets#12", "issue:acme/widgets#1", "pr:acme/widgets#1~reviewer",
            "pr:acme/widgets#1~fixer",
            "pr:gitlab.com/acme/widgets#1", "pr:gitlab.com/acme/Widgets#1", "pr:acme/\(long)#1", "pr:acme/\(long)b#1", "commit:1",
            "commit:1~1",
        ]
        #expect(Set(try texts.map { try SessionKey(parsing: $0).name }).count == texts.count)
        #expect(try SessionKey(parsing: "pr:acme/widgets#12").name.hasPrefix("pr12-widge-"))
    }

    @Test func aRepositoryWithoutAHostIsOnGitHub() throws {
        let short = try SessionKey(.pullRequest(repository: "acme/widgets", number: 3))
        #expect(short == (try SessionKey(parsing: "pr:github.com/acme/widgets#3")))
        #expect(short.repository == "github.com/acme/widgets")
        #expect(try SessionKey(parsing: "pr:/srv/widgets#3").repository == "/srv/widgets")
        #expect(try SessionKey(parsing: "pr:/widgets#3").repository == "/widgets")
    }

    @Test(arguments: [
        ("", "no scope"), ("acme/widgets#1", "no scope"), ("branch:acme/widgets#1", "no scope “branch”"),
        ("pr:acme/widgets", "no number"),
        ("pr:acme/widgets#", "no number"), ("pr:acme/widgets#0", "1 or more"), ("pr:acme/widgets#-3", "1 or more"),
        ("pr:acme/widgets#+3", "no number"), ("pr:acme/widgets#03", "no number"), ("pr:#1", "a repository is"),
        ("pr:acme/wid gets#1", "a repository is"), ("pr:a/b#1#2", "a repository is"), ("pr:a/b#1~x~y", "no number"),
        ("pr:a/b#1~", "a profile is"), ("pr:a/b#1~rev iew", "a profile is"), ("commit:", "uid is"), ("commit:a/b", "uid is"),
        ("commit:a#b", "uid is"), ("pr:a/b#99999999999999999999", "no number"), ("PR:a/b#1", "no scope “PR”"),
        ("pr:a/b\n#1", "a repository is"),
    ])
    func badTextsAreRefusedWithTheReason(_ text: String, _ reason: String) {
        let error = #expect(throws: InvalidSessionKey.self) { try SessionKey(parsing: text) }
        #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("pr:OWNER/REPO#N") == true)
    }

    @Test func partsThatAreTooLongAreRefused() {
        #expect(throws: InvalidSessionKey.self) { try SessionKey(.task(uid: String(repeating: "a", count: 129))) }
        #expect(throws: InvalidSessionKey.self) { try SessionKey(.task(uid: "a"), profile: String(repeating: "a", count: 64)) }
        #expect(throws: InvalidSessionKey.self) {
            try SessionKey(.issue(repository: "a/" + String(repeating: "b", count: 511), number: 1))
        }
    }
}

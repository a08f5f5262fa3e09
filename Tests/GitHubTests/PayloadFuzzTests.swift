import Foundation
import SessionModel
import Support
import Testing

@testable import GitHub

/// Payloads that no forge sends: whatever is missing, null, of another type or huge, an event is read or refused, and the rules decide.
@Suite struct PayloadFuzzTests {
    private static let rounds = 500

    private static let seeds: [(event: String, payload: JSONValue)] =
        [
            ("issues", Fixture.issue()), ("issue_comment", Fixture.issueComment("/continue x", onPullRequest: true)),
            ("pull_request", Fixture.object(Fixture.pullRequest(action: "synchronize", before: "a", after: "b"))),
            ("pull_request", Fixture.object(Fixture.pullRequest(action: "closed", merged: true))),
            ("pull_request_review", Fixture.review("text")),
            ("pull_request_review_comment", Fixture.reviewComment("text", id: 1, review: 5)),
        ] + ((try? Recording.all.map { ($0.kind, try $0.payload()) }) ?? [])

    @Test(arguments: [1, 2, 3, 4] as [UInt64]) func whateverComesIsReadOrRefused(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let template = try PromptTemplate(nil)
        var read = 0
        for round in 0..<Self.rounds {
            let (name, payload) = random.pick(Self.seeds)
            var broken = payload
            for _ in 0...Int.random(in: 0...4, using: &random) { broken = Self.broken(broken, &random) }
            // As it would be delivered: what cannot be written cannot come.
            let text = try JSON.string(broken)
            let event: GitHubEvent
            do throws(UnreadableEvent) {
                let value = try! JSON.decode(JSONValue.self, from: text)
                guard let known = try GitHubEvent(event: random.oneIn(20) ? "star" : name, payload: value) else { continue }
                event = known
            } catch {
                #expect(!error.description.isEmpty)
                continue
            }
            read += 1
            #expect(event.subject.number > 0 && event.repository.fullName.contains("/"), "seed \(seed), round \(round): \(text)")
            #expect(event.meaning.hasPrefix(event.place), "seed \(seed), round \(round)")
            var facts = WebhookRules.Facts()
            facts.own = "robot"
            if random.oneIn(2) { facts.permissions = ["ada": .write] }
            let rules = WebhookRules(
                name: "fixer",
                spec: SpawnerSpec(
                    when: SpawnerTrigger(
                        githubWebhook: GitHubWebhook(repository: "*/*", events: GitHubWebhook.knownEvents))))
            _ = rules.sessions(of: event)
            switch rules.decide(event, facts) {
            case .task(let draft):
                // Nobody who may not has made a Task of it.
                let permission = event.sender.flatMap { facts.permissions[$0] }
                #expect(permission == .write, "seed \(seed), round \(round): \(text)")
                #expect(draft.key.hasPrefix("fixer:github:"))
                let prompt = try template.prompt(for: event)
                #expect(!prompt.isEmpty)
            case .command: #expect(event.sender.flatMap { facts.permissions[$0] } == .write, "seed \(seed), round \(round)")
            case .scope, .ignore, .needs: break
            }
        }
        #expect(read > Self.rounds / 10, "seed \(seed): only \(read) of \(Self.rounds) were read")
    }

    /// The same with one thing in it otherwise.
    private static func broken(_ value: JSONValue, _ random: inout SeededRandom) -> JSONValue {
        if var members = value.object, let name = members.keys.sorted().randomElement(using: &random), !random.oneIn(12) {
            switch Int.random(in: 0...9, using: &random) {
            case 0: members[name] = nil
            case 1: members[name] = .null
            case 2: members[name] = other(&random)
            default: members[name] = broken(members[name] ?? .null, &random)
            }
            return .object(members)
        }
        if var elements = value.array, let index = elements.indices.randomElement(using: &random) {
            elements[index] = broken(elements[index], &random)
            return .array(elements)
        }
        return random.oneIn(3) ? other(&random) : value
    }

    private static func other(_ random: inout SeededRandom) -> JSONValue {
        switch Int.random(in: 0...8, using: &random) {
        case 0: .null
        case 1: .bool(true)
        case 2: .integer(random.pick([0, -1, 1, .max, .min, 1 << 53]))
        case 3: .string("")
        case 4: .string(random.text(upTo: 40))
        case 5:
            .string(random.pick(["a/b", "/", "a/b/c", "../..", "owner/na me", "x/\u{0}", "holdfast/issue-99999999999999999999"]))
        case 6: .array([])
        case 7: .object([:])
        default: .string(String(repeating: "x", count: 20_000))
        }
    }
}

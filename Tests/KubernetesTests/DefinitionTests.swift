import Foundation
import SessionModel
import Testing

@testable import Kubernetes

/// The custom resources' definitions say what the Swift types say.
@Suite(.timeLimit(.minutes(5)))
struct DefinitionTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "deploy/crds")

    @Test func theFilesAreWhatTheTypesSay() throws {
        for file in try CustomResources.files() {
            let text = (try? String(contentsOf: Self.folder.appending(path: file.name), encoding: .utf8)) ?? ""
            #expect(
                text == file.text,
                "deploy/crds/\(file.name) is not what the types say: \(Self.difference(text, file.text)). Run: holdfast-supervisor crds --directory deploy/crds"
            )
        }
    }

    /// The first line that differs, of each.
    private static func difference(_ old: String, _ new: String) -> String {
        let (old, new) = (old.split(separator: "\n"), new.split(separator: "\n"))
        let index = zip(old, new).prefix { $0 == $1 }.count
        return "line \(index + 1) is “\(index < old.count ? old[index] : "")”, not “\(index < new.count ? new[index] : "")”"
    }

    /// Every field of every example that the types write is in the schema, and the schema requires nothing that they leave out.
    @Test func whatTheTypesWriteIsInTheSchema() throws {
        let schemas = try schemas()
        let task = TaskSpec(
            prompt: "p", scope: ScopeSpec(kind: .pullRequest, repository: "a/b", number: 1), turn: TurnSpec(whenBusy: .queue))
        let session = SessionSpec(
            key: try SessionKey(parsing: "pr:github.com/a/b#1"), scope: ScopeSpec(kind: .issue),
            worker: AgentDescription(driver: .acp, command: ["x"]))
        let examples: [(JSONValue, String, String)] = [
            (try json(task), "tasks.holdfast.dev", "spec"), (try json(TaskStatus()), "tasks.holdfast.dev", "status"),
            (try json(session), "sessions.holdfast.dev", "spec"),
            (try json(SessionResourceStatus(since: Timestamp(milliseconds: 0))), "sessions.holdfast.dev", "status"),
        ]
        for (value, name, part) in examples {
            let problems = Self.problems(value, try #require(schemas[name]?["properties"]?[part]), part)
            #expect(problems.isEmpty, "\(name): \(problems)")
        }
    }

    /// A rule whose path no type has would be silently without effect.
    @Test func everyRuleIsAboutAFieldThatExists() throws {
        for (rules, shapes) in [
            (CustomResources.taskRules, try CustomResources.shapes(TaskSpec.self, TaskStatus.self)),
            (CustomResources.sessionRules, try CustomResources.shapes(SessionSpec.self, SessionResourceStatus.self)),
        ] {
            let paths = Set(Schema.paths(of: .object(shapes, required: []), at: ""))
            let missing = rules.keys.filter { !paths.contains($0) }.sorted()
            #expect(missing.isEmpty, "no type has these fields")
        }
        let formats = Set(CustomResources.formats.keys)
        #expect(formats.count == CustomResources.samples.count, "every form of a text has its rule")
    }

    /// What the server refuses in a structural schema, and what would make objects grow without limit.
    @Test func theSchemasAreStructuralAndBounded() throws {
        for (name, schema) in try schemas() {
            Self.walk(schema, name) { path, node in
                let isOpen = node["x-kubernetes-preserve-unknown-fields"] == true
                #expect(node["type"] != nil || isOpen, "\(path) has no type")
                switch node["type"]?.string {
                case "string": #expect(node["maxLength"] != nil || node["enum"] != nil, "\(path) has no maxLength")
                case "array": #expect(node["maxItems"] != nil && node["items"] != nil, "\(path)")
                case "object":
                    #expect((node["properties"] == nil) != (node["additionalProperties"] == nil), "\(path)")
                    if node["additionalProperties"] != nil { #expect(node["maxProperties"] != nil, "\(path)") }
                default: break
                }
                for rule in node["x-kubernetes-validations"]?.array ?? [] {
                    #expect(rule["message"]?.string?.isEmpty == false, "\(path): a rule without a message for people")
                }
            }
        }
    }

    @Test func rulesAreMet() throws {
        let format = try Regex(#require(CustomResources.formats["TimeSpan"]?.pattern))
        for text in ["30s", "5m", "1h30m", "7d", "1.5h", "250ms", "PT1H30M", "P7D"] {
            #expect(try format.wholeMatch(in: text) != nil && (try? TimeSpan(parsing: text)) != nil, "\(text)")
        }
        for text in ["", "30", "s", "5 m", "-1s"] { #expect(try format.wholeMatch(in: text) == nil, "\(text)") }
        let tasks = try #require(try schemas()["tasks.holdfast.dev"]?["properties"])
        #expect(tasks["spec"]?["required"] == ["prompt"])
        #expect(tasks["spec"]?["properties"]?["scope"]?["default"] == ["kind": "Commit"])
        #expect(tasks["spec"]?["properties"]?["scope"]?["properties"]?["kind"]?["enum"] == ["Commit", "PullRequest", "Issue"])
    }

    /// Against a real server: it takes the definitions as they are, and refuses what it should with words that help.
    @Test func aRealServerTakesThem() async throws {
        guard TestCluster.isReal else { return }
        try await TestCluster.with { cluster async throws in
            for definition in try CustomResources.definitions() {
                do throws(KubernetesError) {
                    try await cluster.client.objects(.definitions).create(definition)
                } catch {
                    guard error.code == .alreadyExists else { throw error }
                    var current = try await cluster.client.objects(.definitions).get(definition.metadata.name!)
                    current["spec"] = definition["spec"]
                    try await cluster.client.objects(.definitions).replace(current)
                }
            }
            try await until { try await cluster.client.has(.tasks) }
            let tasks = cluster.client.objects(.tasks, in: cluster.namespace)
            func task(_ name: String, _ spec: JSONValue) -> GenericObject {
                GenericObject(.tasks, metadata: ObjectMeta(name: name), members: ["spec": spec])
            }
            var made = try await tasks.create(task("ok", ["prompt": "p"]))
            #expect(made["spec"]?["scope"]?["kind"] == "Commit")
            made["spec"] = ["prompt": "other"]
            let changed = made
            #expect(
                await failure { try await tasks.replace(changed) }?.causes.first?.message?.contains("make another one") == true)
            let wrong: [(JSONValue, String)] = [
                ([:], "spec.prompt"), (["prompt": "p", "scope": ["kind": "PullRequest"]], "need a repository"),
                (["prompt": "p", "turn": ["whenBusy": "Supersede"]], "needs a supersedeKey"),
                (["prompt": "p", "turn": ["timeout": "soon"]], "spec.turn.timeout"), (["prompt": ""], "spec.prompt"),
                (["prompt": "p", "worker": ["driver": "codex", "env": ["GH_TOKEN": "x"]]], "expose: Token only"),
                (
                    [
                        "prompt": "p",
                        "worker": [
                            "driver": "codex", "mcpServers": ["s": ["command": ["x"], "env": ["GITHUB_TOKEN": "x"]]],
                        ],
                    ], "expose: Token only"
                ),
                (["prompt": "p", "worker": ["driver": "codex", "credentials": ["token": "/t"]]], "by expose: Token"),
            ]
            for (spec, words) in wrong {
                let error = await failure { try await tasks.create(task("wrong", spec)) }
                #expect(error?.code == .invalid && error?.message.contains(words) == true, "\(String(describing: error))")
            }
            #expect(await failure { try await tasks.create(task("wrong", ["prompt": "p", "bogus": 1])) }?.code == .badRequest)
            made = try await tasks.get("ok")
            made["status"] = try json(TaskStatus())
            #expect(try await tasks.replaceStatus(made)["status"]?["phase"] == "Pending")

            let sessions = cluster.client.objects(.sessions, in: cluster.namespace)
            let key = try SessionKey(parsing: "pr:github.com/a/b#1")
            let spec = SessionSpec(
                key: key, scope: ScopeSpec(kind: .pullRequest, repository: "github.com/a/b", number: 1),
                worker: AgentDescription(driver: .acp, command: ["x"]))
            var session = try await sessions.create(
                GenericObject(.sessions, metadata: ObjectMeta(name: key.name), members: ["spec": try json(spec)]))
            session["spec"] = try json(spec).merging("key", "pr:github.com/a/b#2")
            let moved = session
            #expect(await failure { try await sessions.replace(moved) }?.message.contains("cannot be changed") == true)
            session["spec"] = try json(spec).merging("end", true)
            var ended = try await sessions.replace(session)
            ended["spec"] = try json(spec)
            let revived = ended
            #expect(await failure { try await sessions.replace(revived) }?.message.contains("cannot be brought back") == true)

            let spawners = cluster.client.objects(.spawners, in: cluster.namespace)
            func spawner(_ webhook: JSONValue?, _ template: JSONValue = [:]) -> GenericObject {
                let when: JSONValue = webhook.map { ["githubWebhook": $0] } ?? [:]
                return GenericObject(
                    .spawners, metadata: ObjectMeta(name: "label"), members: ["spec": ["when": when, "taskTemplate": template]])
            }
            let webhook: JSONValue = ["repository": "acme/*", "events": ["issues"]]
            let unfit: [(GenericObject, String)] = [
                (spawner(nil), "give when.githubWebhook"),
                (spawner(["repository": "acme/*", "events": []]), "name events"),
                (spawner(["repository": "acme/*", "events": ["push"]]), "name events"),
                (spawner(webhook, ["turn": ["whenBusy": "Reject"]]), "take Queue or Supersede"),
                (spawner(webhook, ["credentials": ["tokenFile": "/t"]]), "name a Secret in secretRef"),
            ]
            for (spawner, words) in unfit {
                let error = await failure { try await spawners.create(spawner) }
                #expect(error?.code == .invalid && error?.message.contains(words) == true, "\(String(describing: error))")
            }
            try await spawners.create(spawner(webhook))
        }
    }

    // MARK: Helpers

    private func schemas() throws -> [String: JSONValue] {
        Dictionary(
            uniqueKeysWithValues: try CustomResources.definitions().map { definition in
                (definition.metadata.name!, definition["spec"]!["versions"]!.array![0]["schema"]!["openAPIV3Schema"]!)
            })
    }

    private func json(_ value: some Encodable) throws -> JSONValue { try JSON.decode(from: JSON.encode(value)) }

    private static func walk(_ node: JSONValue, _ path: String, _ visit: (String, JSONValue) -> Void) {
        visit(path, node)
        for (name, member) in node["properties"]?.object ?? [:] { walk(member, "\(path).\(name)", visit) }
        if let items = node["items"] { walk(items, path + "[]", visit) }
        if let values = node["additionalProperties"] { walk(values, path + ".*", visit) }
    }

    private static func problems(_ value: JSONValue, _ schema: JSONValue, _ path: String) -> [String] {
        switch value {
        case .object(let members):
            let missing = (schema["required"]?.array ?? []).compactMap(\.string).filter { members[$0] == nil }
            return missing.map { "\(path).\($0) is required, but the types leave it out" }
                + members.flatMap { name, member -> [String] in
                    guard let next = schema["properties"]?[name] ?? schema["additionalProperties"] else {
                        return ["\(path).\(name) is not in the schema"]
                    }
                    return problems(member, next, "\(path).\(name)")
                }
        case .array(let elements): return elements.flatMap { problems($0, schema["items"] ?? [:], path + "[]") }
        case .string(let text):
            let words = schema["enum"]?.array
            return schema["type"] != "string" || !(words?.contains(.string(text)) ?? true) ? ["\(path): “\(text)”"] : []
        case .integer: return ["integer", "number"].contains(schema["type"]) ? [] : ["\(path) is a number"]
        case .bool: return schema["type"] == "boolean" ? [] : ["\(path) is a boolean"]
        case .number: return schema["type"] == "number" ? [] : ["\(path) is a number"]
        case .null: return []
        }
    }
}

extension JSONValue {
    fileprivate func merging(_ name: String, _ value: JSONValue) -> JSONValue {
        var members = object ?? [:]
        members[name] = value
        return .object(members)
    }
}

import Foundation
import SessionModel
import Testing
import Yams

@testable import Kubernetes

/// `deploy/` is what a cluster takes.
@Suite(.timeLimit(.minutes(2))) struct DeployTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "deploy")
    /// A kubectl of this machine; `HOLDFAST_KUBECTL` names one that is not in PATH.
    private static let kubectl: String? = {
        let environment = ProcessInfo.processInfo.environment
        let paths = (environment["PATH"] ?? "").split(separator: ":").map { "\($0)/kubectl" }
        return ([environment["HOLDFAST_KUBECTL"]].compactMap(\.self) + paths).first {
            FileManager.default.isExecutableFile(atPath: $0)
        }
    }()

    @Test(
        .enabled(if: kubectl != nil, "there is no kubectl in PATH, and HOLDFAST_KUBECTL names none"),
        arguments: [".", "overlays/cluster", "overlays/labelled-namespaces", "overlays/namespaced"])
    func kustomizeRendersIt(path: String) throws {
        let objects = try Self.render(path)
        let kinds = objects.compactMap { $0["kind"]?.string }
        #expect(kinds.contains("Deployment") && kinds.contains("PodDisruptionBudget") && kinds.contains("NetworkPolicy"))
        #expect(kinds.contains("CustomResourceDefinition") == (path != "overlays/namespaced"))
        #expect(
            kinds.contains("ClusterRole") == (path != "overlays/namespaced"),
            "one namespace is served without any right beyond it")
        // Every subject and every role that is bound is there.
        let names = Set(objects.map { "\($0["kind"]?.string ?? "")/\($0["metadata"]?["name"]?.string ?? "")" })
        for binding in objects where binding["kind"]?.string?.hasSuffix("RoleBinding") == true {
            #expect(names.contains("\(binding["roleRef"]?["kind"]?.string ?? "")/\(binding["roleRef"]?["name"]?.string ?? "")"))
            for subject in binding["subjects"]?.array ?? [] {
                #expect(names.contains("ServiceAccount/\(subject["name"]?.string ?? "")"))
                #expect(subject["namespace"] != nil)
            }
        }
        // Selectors select.
        let deployments = objects.filter { $0["kind"] == "Deployment" }
        #expect(deployments.count == 2)
        for object in objects where ["Service", "PodDisruptionBudget"].contains(object["kind"]) {
            let deployment = try #require(deployments.first { $0["metadata"]?["name"] == object["metadata"]?["name"] })
            let labels = deployment["spec"]?["template"]?["metadata"]?["labels"]?.object ?? [:]
            let selector = object["spec"]?["selector"]?["matchLabels"]?.object ?? object["spec"]?["selector"]?.object ?? [:]
            #expect(!selector.isEmpty && selector.allSatisfy { labels[$0.key] == $0.value })
        }
    }

    /// An overlay of somebody's own puts all of it into another namespace, as docs/operations.md says.
    @Test(.enabled(if: kubectl != nil, "there is no kubectl in PATH, and HOLDFAST_KUBECTL names none"))
    func anotherNamespaceTakesAllOfIt() throws {
        let own = Self.folder.deletingLastPathComponent().appending(path: ".build/overlay-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: own, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: own) }
        try "namespace: agents\nresources: [../../deploy/overlays/labelled-namespaces]\n"
            .write(to: own.appending(path: "kustomization.yaml"), atomically: true, encoding: .utf8)
        let objects = try Self.render("../.build/\(own.lastPathComponent)")
        let subjects = objects.flatMap { $0["subjects"]?.array ?? [] }
        #expect(subjects.count >= 4 && subjects.allSatisfy { $0["namespace"] == "agents" })
        #expect(objects.allSatisfy { ["agents", nil].contains($0["metadata"]?["namespace"]) })
    }

    /// Where the supervisor is one of several namespaces, it may do in each what it may do in its own, but for what is its own.
    @Test func aLabelledNamespaceGivesNoOtherRights() throws {
        func rules(_ file: String, _ kind: String, _ name: String) throws -> Set<JSONValue> {
            let text = try String(contentsOf: Self.folder.appending(path: file), encoding: .utf8)
            let role = try Self.documents(text).first { $0["kind"]?.string == kind && $0["metadata"]?["name"]?.string == name }
            return Set(try #require(role?["rules"]?.array))
        }
        let labelled = "overlays/labelled-namespaces/rights.yaml"
        let own = try rules("base/rights.yaml", "Role", "holdfast-supervisor").filter {
            $0["resourceNames"] == nil && $0["resources"] != ["leases"]
        }
        #expect(try rules(labelled, "ClusterRole", "holdfast-supervisor-sessions") == own)
        #expect(
            try rules(labelled, "ClusterRole", "holdfast-git-gateway")
                == rules("base/git-gateway.yaml", "Role", "holdfast-git-gateway"))
        let bindings = try Self.documents(
            String(contentsOf: Self.folder.appending(path: "namespace/rights.yaml"), encoding: .utf8))
        #expect(
            bindings.compactMap { $0["roleRef"]?["name"]?.string } == ["holdfast-supervisor-sessions", "holdfast-git-gateway"])
        #expect(bindings.allSatisfy { $0["subjects"]?.array?.first?["namespace"] == "holdfast" })
    }

    /// `HOLDFAST_WRITE_GOLDEN=1` writes them.
    @Test(arguments: [("base", nil as String?), ("namespace", "holdfast")])
    func thePoliciesOfSessionsAreWhatTheModelSays(folder: String, supervisor: String?) throws {
        let file = Self.folder.appending(path: "\(folder)/session-network-policy.yaml")
        let text =
            "# Made by the tests of SessionNetworkPolicies with HOLDFAST_WRITE_GOLDEN=1. Do not edit: policies add up, so write one more.\n"
            + (try YAMLText.of(SessionNetworkPolicies.policy(namespace: nil, supervisor: supervisor)))
        if ProcessInfo.processInfo.environment["HOLDFAST_WRITE_GOLDEN"] == "1" {
            try text.write(to: file, atomically: true, encoding: .utf8)
        }
        #expect(try String(contentsOf: file, encoding: .utf8) == text)
    }

    /// The supervisor's rights are no more than are needed, and docs/operations.md explains each verb.
    @Test func everyRightIsExplained() throws {
        func rules(_ file: String) throws -> [JSONValue] {
            let text = try String(contentsOf: Self.folder.appending(path: file), encoding: .utf8)
            return try Self.documents(text).flatMap { $0["rules"]?.array ?? [] }
        }
        let all =
            try rules("base/rights.yaml") + rules("overlays/cluster/nodes.yaml")
            + rules("overlays/labelled-namespaces/rights.yaml").filter { $0["resources"] == ["namespaces"] }
        let docs = try String(
            contentsOf: Self.folder.deletingLastPathComponent().appending(path: "docs/operations.md"), encoding: .utf8)
        let rows = docs.split(separator: "\n").filter { $0.hasPrefix("|") }
        for rule in all {
            let (resources, verbs) = (
                rule["resources"]?.array?.compactMap(\.string) ?? [], rule["verbs"]?.array?.compactMap(\.string) ?? []
            )
            #expect(!resources.isEmpty && !verbs.isEmpty && !resources.contains("*") && !verbs.contains("*"))
            // It reads no Secrets but its own and the gateway's.
            if resources.contains("secrets") {
                let names = rule["resourceNames"]?.array?.compactMap(\.string) ?? []
                #expect(verbs == ["create"] || ["holdfast-authority", "holdfast-git-gateway"].contains(names.joined()))
            }
            for resource in resources {
                let about = rows.filter { $0.contains("`\(resource)`") }
                for verb in verbs {
                    #expect(
                        about.contains { $0.contains(verb) }, "docs/operations.md does not say why it may \(verb) \(resource)")
                }
            }
        }
    }

    /// What the gateway is started with is what it takes, and what the supervisor tells sessions is where it is.
    @Test func theGatewayIsWhereSessionsLookForIt() throws {
        func text(_ file: String) throws -> String { try String(contentsOf: Self.folder.appending(path: file), encoding: .utf8) }
        let gateway = try Self.documents(text("base/git-gateway.yaml"))
        let service = try #require(gateway.first { $0["kind"] == "Service" })
        let port = try #require(service["spec"]?["ports"]?.array?.first?["port"]?.string)
        let url = "https://\(service["metadata"]?["name"]?.string ?? "").$(POD_NAMESPACE).svc:\(port)"
        #expect(try text("base/supervisor.yaml").contains("--git-gateway=\(url)\n"), "\(url)")
        let rules = gateway.flatMap { $0["rules"]?.array ?? [] }
        #expect(rules.allSatisfy { $0["verbs"] == ["get"] }, "it changes nothing")
        #expect(Set(rules.flatMap { $0["resources"]?.array ?? [] }) == ["sessions", "pods", "secrets"])
    }

    // MARK: Helpers

    private static func render(_ path: String) throws -> [JSONValue] {
        let process = Process()
        process.executableURL = URL(filePath: try #require(kubectl))
        process.arguments = ["kustomize", folder.appending(path: path).path]
        let (output, errors) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        let problem = String(decoding: try errors.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(problem)")
        return try documents(text)
    }

    private static func documents(_ text: String) throws -> [JSONValue] {
        try YAMLDecoder().decodeAll(text)
    }
}

extension YAMLDecoder {
    /// Every document of a stream.
    fileprivate func decodeAll(_ text: String) throws -> [JSONValue] {
        try Yams.compose_all(yaml: text).map { try decode(JSONValue.self, from: $0) }
    }
}

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
        arguments: [".", "overlays/cluster", "overlays/namespaced"])
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

    /// What the file says is what the supervisor makes in other namespaces. `HOLDFAST_WRITE_GOLDEN=1` writes it.
    @Test func thePolicyOfSessionsIsTheSupervisorsOwn() throws {
        let file = Self.folder.appending(path: "base/session-network-policy.yaml")
        let text =
            "# Made by the tests of SessionNetworkPolicies with HOLDFAST_WRITE_GOLDEN=1. Do not edit: policies add up, so write one more.\n"
            + (try YAMLText.of(SessionNetworkPolicies.policy(namespace: nil, supervisor: nil)))
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
        let all = try rules("base/rights.yaml") + rules("overlays/cluster/nodes.yaml")
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

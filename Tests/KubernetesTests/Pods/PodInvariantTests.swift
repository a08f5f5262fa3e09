import SessionModel
import Testing

@testable import Kubernetes

/// A worker's `podTemplate` shapes its pod, and cannot take away what a session relies on.
struct PodInvariantTests {
    @Test(
        arguments: [
            ["spec": ["runtimeClassName": "kata", "priorityClassName": "low", "serviceAccountName": "cloud"]],
            ["spec": ["affinity": ["nodeAffinity": [:]], "hostUsers": false, "dnsPolicy": "Default"]],
            ["spec": ["securityContext": ["supplementalGroups": [7]]]],
            ["spec": ["containers": [["name": "agent", "securityContext": ["readOnlyRootFilesystem": true]]]]],
            [
                "spec": [
                    "containers": [
                        [
                            "name": "tests", "image": "x",
                            "volumeMounts": [["name": "session", "mountPath": "/w", "subPath": "workspace/repo"]],
                        ]
                    ]
                ]
            ],
            ["spec": ["initContainers": [["name": "warm-up", "image": "x"]]]],
            ["metadata": ["annotations": ["a/b": "c"]]],
        ] as [JSONValue])
    func whatATemplateMaySet(template: JSONValue) throws { _ = try PodSamples.pod(template: template) }

    @Test(
        arguments: [
            (["kind": "Pod"], "kind"), (["metadata": ["name": "x"]], "metadata.name"),
            (["metadata": ["labels": ["holdfast.dev/session": "x"]]], "metadata.labels[holdfast.dev/session]"),
            (["metadata": ["labels": ["holdfast.dev/mine": "x"]]], "metadata.labels[holdfast.dev/mine]"),
            (["metadata": ["annotations": ["a": 1]]], "metadata.annotations[a]"), (["spec": nil], "spec"),
            (["spec": ["restartPolicy": "Never"]], "spec.restartPolicy"),
            (["spec": ["terminationGracePeriodSeconds": 5]], "set that"),
            (["spec": ["activeDeadlineSeconds": 5]], "lifetime.ttl"),
            (["spec": ["automountServiceAccountToken": true]], "spec.automountServiceAccountToken"),
            (["spec": ["shareProcessNamespace": true]], "spec.shareProcessNamespace"),
            (["spec": ["hostNetwork": true]], "spec.hostNetwork"), (["spec": ["hostPID": true]], "spec.hostPID"),
            (["spec": ["securityContext": ["fsGroup": 0]]], "spec.securityContext.fsGroup"),
            (["spec": ["securityContext": ["$patch": "replace"]]], "spec.securityContext"),
            (["spec": ["initContainers": [["name": "sidecar", "image": "evil"]]]], "spec.initContainers[sidecar].image"),
            (["spec": ["initContainers": [["name": "sidecar", "livenessProbe": nil]]]], "livenessProbe"),
            (["spec": ["initContainers": [["name": "tools", "$patch": "delete"]]]], "spec.initContainers[tools]"),
            (["spec": ["containers": [["$patch": "replace"], ["name": "x", "image": "x"]]]], "spec.containers[agent]"),
            (["spec": ["containers": [["name": "agent", "image": "x"]]]], "set worker.image"),
            (["spec": ["containers": [["name": "agent", "command": ["sh"]]]]], "spec.containers[agent].command"),
            (["spec": ["containers": [["name": "agent", "lifecycle": [:]]]]], "spec.containers[agent].lifecycle"),
            (["spec": ["containers": [["name": "agent", "securityContext": ["runAsUser": 0]]]]], "runAsUser"),
            (["spec": ["containers": [["name": "agent", "securityContext": ["privileged": true]]]]], "privileged"),
            (
                ["spec": ["containers": [["name": "agent", "securityContext": ["seccompProfile": ["type": "Unconfined"]]]]]],
                "seccompProfile"
            ),
            (
                ["spec": ["containers": [["name": "agent", "securityContext": ["capabilities": ["add": ["SYS_ADMIN"]]]]]]],
                "capabilities"
            ),
            (
                ["spec": ["containers": [["name": "agent", "volumeMounts": [["name": "session", "mountPath": "/all"]]]]]],
                "volumeMounts[/all]"
            ),
            (
                ["spec": ["containers": [["name": "agent", "volumeMounts": [["name": "epoch", "mountPath": "/e"]]]]]],
                "volumeMounts[/e]"
            ),
            (
                [
                    "spec": [
                        "containers": [
                            [
                                "name": "agent",
                                "volumeMounts": [["mountPath": "/var/lib/holdfast/state/transcript", "readOnly": false]],
                            ]
                        ]
                    ]
                ],
                "the sidecar relies on it"
            ),
            (
                [
                    "spec": [
                        "containers": [
                            [
                                "name": "x", "image": "x",
                                "volumeMounts": [["name": "session", "mountPath": "/s", "subPath": "state"]],
                            ]
                        ]
                    ]
                ],
                "with subPath workspace"
            ),
            (
                [
                    "spec": [
                        "containers": [
                            [
                                "name": "x", "image": "x",
                                "volumeMounts": [["name": "session", "mountPath": "/s", "subPath": "workspace/../state"]],
                            ]
                        ]
                    ]
                ],
                "with subPath workspace"
            ),
            (["spec": ["volumes": [["name": "host", "emptyDir": nil, "hostPath": ["path": "/"]]]]], "spec.volumes[host]"),
            (["spec": ["volumes": [["name": "credentials", "emptyDir": [:]]]]], "choose another name"),
            (
                ["spec": ["volumes": [["name": "t", "projected": ["sources": [["serviceAccountToken": ["path": "t"]]]]]]]],
                "no token of the cluster"
            ),
        ] as [(JSONValue, String)])
    func whatItMayNot(template: JSONValue, words: String) throws {
        let error = #expect(throws: PodManifestError.self) { try PodSamples.pod(template: template) }
        let text = error?.description ?? ""
        #expect(text.hasPrefix("podTemplate cannot set ") && text.contains(words), "\(text)")
    }

    /// Nor by another volume's name.
    @Test func theSessionsOwnThingsAreRefusedUnderAnyName() throws {
        let manifest = try PodSamples.manifest(PodSamples.session())
        let (name, claim) = (manifest.name, try #require(manifest.claimName))
        let volumes: [JSONValue] = [
            ["name": "x", "persistentVolumeClaim": ["claimName": .string(claim)]],
            ["name": "x", "secret": ["secretName": .string(name)]],
            ["name": "x", "projected": ["sources": [["secret": ["name": .string(name)]]]]],
        ]
        for volume in volumes {
            #expect(throws: PodManifestError.self) { try PodSamples.pod(template: ["spec": ["volumes": [volume]]]) }
        }
    }

    /// Order and number of our containers stay as they are, whatever is added.
    @Test func whatIsAddedComesAfterTheSidecar() throws {
        let pod = try PodSamples.pod(template: ["spec": ["initContainers": [["name": "a", "image": "x"]]]])
        #expect(pod["spec"]?["initContainers"]?.array?.map { $0["name"] } == ["tools", "sidecar", "a"])
    }

    /// A user who sets one of request and limit has not to know the other's default.
    @Test(
        arguments: [
            ([:], ["cpu": "250m", "memory": "512Mi"], ["memory": "4Gi"]),
            (["limits": ["memory": "256Mi"]], ["cpu": "250m", "memory": "256Mi"], ["memory": "256Mi"]),
            (["limits": ["memory": "1Gi", "cpu": 1]], ["cpu": "250m", "memory": "512Mi"], ["memory": "1Gi", "cpu": 1]),
            (
                ["limits": ["cpu": .number(0.1)]], ["cpu": .number(0.1), "memory": "512Mi"],
                ["memory": "4Gi", "cpu": .number(0.1)]
            ),
            (["requests": ["memory": "8e9"]], ["cpu": "250m", "memory": "8e9"], ["memory": "8e9"]),
            (["requests": ["memory": "3Gi"]], ["cpu": "250m", "memory": "3Gi"], ["memory": "4Gi"]),
            // Both are the user's: the API server says what is wrong.
            (
                ["requests": ["memory": "2Gi"], "limits": ["memory": "1Gi"]], ["cpu": "250m", "memory": "2Gi"],
                ["memory": "1Gi"]
            ),
            (["limits": ["memory": "much"]], ["cpu": "250m", "memory": "512Mi"], ["memory": "much"]),
        ] as [(JSONValue, JSONValue, JSONValue)])
    func defaultsDoNotContradictWhatATemplateSets(resources: JSONValue, requests: JSONValue, limits: JSONValue) throws {
        let pod = try PodSamples.pod(template: ["spec": ["containers": [["name": "agent", "resources": resources]]]])
        let agent = try #require(pod["spec"]?["containers"]?.array?.first { $0["name"] == "agent" })
        #expect(agent["resources"] == ["requests": requests, "limits": limits])
    }

    @Test(
        arguments: [
            ("512Mi", 536_870_912), ("250m", 0.25), ("1.5", 1.5), ("2e3", 2000), ("1E", 1e18), ("1Ei", 0x1p60), ("4k", 4000),
            ("-1", -1), ("", nil), ("e3", nil), ("much", nil), ("1e", nil), ("1 Mi", nil), ("0x10", nil), ("12mi", nil),
        ] as [(String, Double?)])
    func amounts(text: String, value: Double?) { #expect(Quantity(.string(text))?.value == value) }
}

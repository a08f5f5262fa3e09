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
}

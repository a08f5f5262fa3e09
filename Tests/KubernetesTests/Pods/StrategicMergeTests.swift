import SessionModel
import Testing

@testable import Kubernetes

/// The strategic merge does what `kubectl patch --type strategic` does.
struct StrategicMergeTests {
    private func merged(_ patch: JSONValue, onto base: JSONValue) throws -> JSONValue {
        try StrategicMerge.merge(patch, onto: base, at: "spec")
    }

    @Test func membersAreMergedAndNullTakesAway() throws {
        #expect(
            try merged(["a": ["b": 2, "c": nil], "d": 4], onto: ["a": ["b": 1, "c": 3, "e": 5]])
                == ["a": ["b": 2, "e": 5], "d": 4])
    }

    @Test func namedElementsAreMergedAndNewOnesComeLast() throws {
        let base: JSONValue = [
            "containers": [
                ["name": "agent", "image": "x", "env": [["name": "A", "value": "1"], ["name": "B", "value": "2"]]]
            ]
        ]
        let patch: JSONValue = [
            "containers": [
                ["name": "db", "image": "y"],
                [
                    "name": "agent", "env": [["name": "C", "value": "3"], ["name": "A", "value": "0"]],
                    "ports": [["containerPort": 80]],
                ],
            ]
        ]
        #expect(
            try merged(patch, onto: base) == [
                "containers": [
                    [
                        "name": "agent", "image": "x", "ports": [["containerPort": 80]],
                        "env": [["name": "A", "value": "0"], ["name": "B", "value": "2"], ["name": "C", "value": "3"]],
                    ], ["name": "db", "image": "y"],
                ]
            ])
    }

    @Test func otherListsAreReplaced() throws {
        #expect(
            try merged(
                ["tolerations": [["key": "b"]], "args": ["y"]], onto: ["tolerations": [["key": "a"]], "args": ["x", "z"]])
                == ["tolerations": [["key": "b"]], "args": ["y"]])
    }

    @Test func directives() throws {
        let base: JSONValue = ["volumes": [["name": "a", "emptyDir": ["sizeLimit": "1Gi"]], ["name": "b", "emptyDir": [:]]]]
        #expect(
            try merged(["volumes": [["name": "a", "$patch": "delete"]]], onto: base) == [
                "volumes": [["name": "b", "emptyDir": [:]]]
            ])
        #expect(
            try merged(["volumes": [["$patch": "replace"], ["name": "c", "emptyDir": [:]]]], onto: base)
                == ["volumes": [["name": "c", "emptyDir": [:]]]])
        #expect(
            try merged(
                ["volumes": [["name": "a", "$retainKeys": ["name", "secret"], "secret": ["secretName": "s"]]]], onto: base)
                == ["volumes": [["name": "a", "secret": ["secretName": "s"]], ["name": "b", "emptyDir": [:]]]])
        #expect(try merged(["a": ["$patch": "replace", "c": 1]], onto: ["a": ["b": 1]]) == ["a": ["c": 1]])
        #expect(try merged(["a": ["$patch": "delete"]], onto: ["a": ["b": 1], "c": 2]) == ["c": 2])
        #expect(try merged(["a": ["$patch": "merge", "c": 1]], onto: ["a": ["b": 1]]) == ["a": ["b": 1, "c": 1]])
    }

    /// Nothing of a patch stays in the result that only the merge understands, wherever it stands.
    @Test func directivesWithinNewElementsAreCarriedOut() throws {
        #expect(
            try merged(["containers": [["name": "x", "env": [["name": "A", "$patch": "delete"]]]]], onto: [:])
                == ["containers": [["name": "x", "env": []]]])
    }

    @Test(
        arguments: [
            (["containers": ["agent"]], "spec.containers[0] is a text, and must be an object"),
            (["containers": [["image": "x"]]], "spec.containers[0] has no name"),
            (["a": ["$patch": "remove"]], "spec.a.$patch is “remove”: write merge, replace or delete"),
            (["a": ["$setElementOrder/x": []]], "spec.a has $setElementOrder/x, which is not known here"),
            (["a": ["$retainKeys": "x"]], "spec.a.$retainKeys must be a list of names"),
            (["a": 1], "spec.a is a number, and the pod has an object there"),
            (["containers": ["name": "agent"]], "spec.containers is an object, and the pod has a list there"),
            (["a": [1]], "spec.a is a list, and the pod has an object there"),
        ] as [(JSONValue, String)])
    func mistakesAreNamed(patch: JSONValue, message: String) throws {
        let error = #expect(throws: PodManifestError.self) {
            try merged(patch, onto: ["a": [:], "containers": [["name": "agent"]]])
        }
        #expect(error?.description.contains(message) == true, "\(String(describing: error))")
    }

    /// The lists that are merged, and by what, are those of Kubernetes' own description of a pod's template.
    @Test func theMergeKeysAreKubernetesOwn() throws {
        let schemas = try OpenAPI(OpenAPI.recorded ?? OpenAPI.pruned).schemas
        var seen: Set<String> = []
        var keys: [String: String] = [:]
        func visit(_ name: String) {
            guard seen.insert(name).inserted, let members = schemas[name]?["properties"]?.object else { return }
            for (field, schema) in members {
                if schema["x-kubernetes-patch-strategy"]?.string?.contains("merge") == true,
                    let key = schema["x-kubernetes-patch-merge-key"]?.string
                {
                    keys[field] = key
                }
                for part in [schema, schema["items"], schema["additionalProperties"]] {
                    let reference = part?["$ref"]?.string ?? part?["allOf"]?.array?.first?["$ref"]?.string
                    if let target = reference?.split(separator: "/").last { visit(String(target)) }
                }
            }
        }
        visit("io.k8s.api.core.v1.PodSpec")
        visit("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
        #expect(keys == StrategicMerge.mergeKeys)
    }
}

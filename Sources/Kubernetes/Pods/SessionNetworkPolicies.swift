import SessionModel

/// What the pods of sessions may talk with, in every namespace that has any. Policies only ever add up: who needs more (a registry
/// or a model server of their own network) writes one more.
public enum SessionNetworkPolicies {
    public static let name = "holdfast-sessions"

    /// Private, shared and link-local addresses: the cluster's own pods, services and API server, and the clouds' metadata.
    public static let closedIPv4 = [
        "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
    ]
    public static let closedIPv6 = ["::1/128", "fc00::/7", "fe80::/10"]
    /// Where the node's own DNS cache listens, if it has one; link-local, so it must be named.
    private static let nodeDNS = "169.254.20.10/32"

    /// - Parameters:
    ///   - supervisor: the namespace of the supervisor and of the git gateway; nil when that is the sessions' own.
    ///   - closed: more ranges that sessions may not reach, such as the API server's if it has a public address.
    public static func policy(namespace: String?, supervisor: String?, closed: [String] = []) -> GenericObject {
        func pods(_ component: String) -> JSONValue {
            var peer: [String: JSONValue] = [
                "podSelector": [
                    "matchLabels": ["app.kubernetes.io/name": "holdfast", "app.kubernetes.io/component": .string(component)]
                ]
            ]
            peer["namespaceSelector"] = supervisor.map { ["matchLabels": ["kubernetes.io/metadata.name": .string($0)]] }
            return .object(peer)
        }
        func block(_ range: String, except: [String]) -> JSONValue {
            ["ipBlock": ["cidr": .string(range), "except": .array(except.map { .string($0) })]]
        }
        let dns: [JSONValue] = ["UDP", "TCP"].map { ["protocol": $0, "port": 53] }
        return GenericObject(
            .networkPolicies,
            metadata: ObjectMeta(
                name: name, namespace: namespace,
                labels: ["app.kubernetes.io/name": "holdfast", "app.kubernetes.io/component": "session"]),
            members: [
                "spec": [
                    "podSelector": ["matchLabels": [PodLabels.component: "session"]],
                    // What is named here and allowed by no rule is denied.
                    "policyTypes": ["Ingress", "Egress"],
                    "ingress": [
                        ["from": [pods("supervisor")], "ports": [["protocol": "TCP", "port": .integer(PodLayout.port)]]]
                    ],
                    "egress": [
                        [
                            "to": [
                                [
                                    "namespaceSelector": ["matchLabels": ["kubernetes.io/metadata.name": "kube-system"]],
                                    "podSelector": ["matchLabels": ["k8s-app": "kube-dns"]],
                                ], ["ipBlock": ["cidr": .string(nodeDNS)]],
                            ], "ports": .array(dns),
                        ],
                        ["to": [pods("git-gateway")]],
                        [
                            "to": [
                                block("0.0.0.0/0", except: closedIPv4 + closed.filter { !$0.contains(":") }),
                                block("::/0", except: closedIPv6 + closed.filter { $0.contains(":") }),
                            ]
                        ],
                    ],
                ]
            ])
    }
}

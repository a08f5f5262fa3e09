import SessionModel

extension SessionPod {
    /// What one of the session's own containers asks for, unless the worker's `podTemplate` says otherwise.
    ///
    /// A template that sets only a limit, or only a request, has the other of that resource follow where it would contradict: the
    /// API server refuses a pod that requests more than its limit, and the user has set only one of the two.
    func resources(of container: String, requests: [String: String], limits: [String: String]) -> JSONValue {
        let spec = session.spec.worker.podTemplate?["spec"]
        let asked = ["initContainers", "containers"].flatMap { spec?[$0]?.array ?? [] }
            .first { $0["name"]?.string == container }?["resources"]
        func own(_ defaults: [String: String], following side: String, contradicts: (Quantity, Quantity) -> Bool) -> JSONValue {
            var result = defaults.mapValues { JSONValue.string($0) }
            for (resource, value) in result {
                guard let other = asked?[side]?[resource], let amount = Quantity(other), let mine = Quantity(value),
                    contradicts(mine, amount)
                else { continue }
                result[resource] = other
            }
            return .object(result)
        }
        return [
            "requests": own(requests, following: "limits", contradicts: >),
            "limits": own(limits, following: "requests", contradicts: <),
        ]
    }
}

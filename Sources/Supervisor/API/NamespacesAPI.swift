import HTTPServing
import Hummingbird
import SessionModel

/// The API of a supervisor that serves several namespaces: `/namespaces/NAME` and then the paths of ``SupervisorAPI``, as if there were
/// this one only. Whoever has the token may call for all of them.
extension LabelledNamespaces {
    func routes(loopbackOnly: Bool) -> Routes {
        var routes = Routes()
        routes.mount("namespaces") { name in
            if let supervisor = self.supervisor(of: name) { return supervisor.api(loopbackOnly: loopbackOnly).routes() }
            var unserved = Routes()
            unserved.otherwise { _ in
                let name = name.prefix(bytes: 200)
                throw Problem(
                    .notFound,
                    "This supervisor does not serve the namespace \(name): kubectl label namespace \(name) \(Self.label)=\(self.own)"
                )
            }
            return unserved
        }
        routes.on(.get, "/v1/version") { _ in try .json(["version": SupervisorVersion.current]) }
        routes.on(.get, "/metrics") { _ in
            var parts: [MetricsPage.Part] = []
            for supervisor in self.all {
                parts.append(try await supervisor.api(loopbackOnly: loopbackOnly).figures(of: supervisor.namespace))
            }
            return .metrics(MetricsPage(parts: parts).text)
        }
        routes.on(.get, "/livez", open: true) { _ in .text("ok\n") }
        routes.on(.get, "/readyz", open: true) { _ in
            guard self.isSynced else {
                throw Problem(.notReady, "It is not known yet which namespaces are served.", retryAfter: 5)
            }
            return .text("ok\n")
        }
        return routes
    }
}

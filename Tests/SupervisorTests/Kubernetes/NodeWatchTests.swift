import Kubernetes
import KubernetesDouble
import NIOConcurrencyHelpers
import Testing

@testable import Supervisor

@Suite(.timeLimit(.minutes(2))) struct NodeWatchTests {
    /// A pod's node that nobody has told of may be new. Taken for gone, a living pod would get a second one beside it.
    @Test func onlyTheServersWordSaysThatANodeIsGone() async throws {
        try await TestNamespace.with { namespace in
            // Its rights were withdrawn, say: it never hears of any node.
            namespace.double.inject(
                Fault(.answer(403, reason: "Forbidden", message: "no"), count: 100_000) { $0.path == "/api/v1/nodes" })
            namespace.double.with { $0.setNode("new", ready: "True") }
            let nodes = NodeWatch(namespace.client, logger: TestNamespace.quiet)
            let running = Task { await nodes.run() }
            let (told, teller) = AsyncStream.makeStream(of: String.self)
            _ = nodes.addListener { teller.yield($0) }
            #expect(nodes.node(named: "new") == .unseen)
            #expect(nodes.node(named: "old") == .unseen)
            for await name in told {
                #expect(name == "old")
                break
            }
            #expect(nodes.node(named: "old") == .missing)
            while !namespace.double.requests.contains(where: { $0.path == "/api/v1/nodes/new" }) { await Task.yield() }
            #expect(nodes.node(named: "new") == .unseen)

            // Another one of that name is another matter.
            namespace.double.clearFaults()
            namespace.double.with { $0.setNode("old", ready: "True") }
            while nodes.node(named: "old") == .missing { try await Task.sleep(for: .milliseconds(5)) }
            running.cancel()
            await running.value
        }
    }
}

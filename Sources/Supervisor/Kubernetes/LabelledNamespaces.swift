import HTTPServing
import Kubernetes
import Logging
import NIOConcurrencyHelpers

/// The namespaces that one supervisor serves together: those whose label names its own. Whoever may label a namespace, which takes a
/// right of the cluster, says so that its sessions are run; nothing is made anywhere else.
final class LabelledNamespaces: Sendable {
    /// On a Namespace: the namespace of the supervisor that serves it.
    static let label = "holdfast.dev/supervisor"

    /// The supervisor's own namespace.
    let own: String
    private let informer: Informer<GenericObject>
    private let make: @Sendable (String) -> NamespaceSupervisor
    private let served = NIOLockedValueBox<[String: NamespaceSupervisor]>([:])
    private let inputs: AsyncStream<Input>
    private let input: AsyncStream<Input>.Continuation
    private let logger: Logger

    /// Everything that changes who is served or led, one after the other.
    private enum Input: Sendable {
        case appeared(String)
        case vanished(String)
        case leads(KubernetesClient, Authority)
        /// Answered when nothing acts any more.
        case leadsNoMore(CheckedContinuation<Void, Never>)
    }

    /// - Parameters:
    ///   - supervisor: its own namespace.
    ///   - make: makes what serves the namespace of a name.
    init(
        _ client: KubernetesClient, supervisor: String, logger: Logger, make: @escaping @Sendable (String) -> NamespaceSupervisor
    ) {
        let (inputs, input) = AsyncStream.makeStream(of: Input.self)
        self.inputs = inputs
        self.input = input
        self.make = make
        own = supervisor
        self.logger = logger
        informer = Informer(
            client.objects(.namespaces), selector: Selector(labels: "\(Self.label)=\(supervisor)"),
            onProblem: { error in
                if error.code != .cancelled {
                    logger.warning("the API server does not tell of namespaces", metadata: ["error": "\(error)"])
                }
            }
        ) { changes in
            for change in changes {
                switch change {
                case .added(let namespace): input.yield(.appeared(namespace.metadata.name ?? ""))
                case .deleted(let namespace): input.yield(.vanished(namespace.metadata.name ?? ""))
                case .updated: break
                }
            }
        }
    }

    /// Once it has heard from the API server which they are.
    var isSynced: Bool { informer.isSynced }

    /// Those that are served, by name.
    var all: [NamespaceSupervisor] { served.withLockedValue { $0.values.sorted { $0.namespace < $1.namespace } } }

    func supervisor(of namespace: String) -> NamespaceSupervisor? { served.withLockedValue { $0[namespace] } }

    /// Follows the API server, and serves what it tells of, until the task is cancelled.
    func run() async {
        // Not a part of this task: what is to be ended in order must not be cancelled with it.
        let worker = Task { await work() }
        await informer.run()
        input.finish()
        await worker.value
    }

    /// Leads in all of them until the task is cancelled, and returns when nothing acts any more.
    /// - Parameter client: the leader's, fenced.
    func lead(_ client: KubernetesClient, _ authority: Authority) async {
        input.yield(.leads(client, authority))
        while (try? await Task.sleep(for: .seconds(3600))) != nil {}
        await withCheckedContinuation { done in
            if case .terminated = input.yield(.leadsNoMore(done)) { done.resume() }
        }
    }

    private struct Member {
        let supervisor: NamespaceSupervisor
        let following: Task<Void, Never>
        var leading: Task<Void, Never>?
    }

    private func work() async {
        var members: [String: Member] = [:]
        var leadership: (client: KubernetesClient, authority: Authority)?
        func lead(_ supervisor: NamespaceSupervisor) -> Task<Void, Never>? {
            leadership.map { leadership in
                Task {
                    // It returns early only when the sessions could not be taken up.
                    repeat {
                        await supervisor.lead(leadership.client, leadership.authority)
                    } while (try? await Task.sleep(for: .seconds(5))) != nil
                }
            }
        }
        for await input in inputs {
            switch input {
            case .appeared(let name):
                guard members[name] == nil else { continue }
                logger.notice("serving a namespace", metadata: ["namespace": "\(name)"])
                let supervisor = make(name)
                members[name] = Member(
                    supervisor: supervisor, following: Task { await supervisor.follow() }, leading: lead(supervisor))
                served.withLockedValue { $0[name] = supervisor }
            case .vanished(let name):
                guard let member = members.removeValue(forKey: name) else { continue }
                logger.notice("not serving a namespace any more", metadata: ["namespace": "\(name)"])
                served.withLockedValue { $0[name] = nil }
                await Self.end([member])
            case .leads(let client, let authority):
                leadership = (client, authority)
                for (name, member) in members { members[name]?.leading = lead(member.supervisor) }
            case .leadsNoMore(let done):
                leadership = nil
                for member in members.values { member.leading?.cancel() }
                for name in members.keys {
                    await members[name]?.leading?.value
                    members[name]?.leading = nil
                }
                done.resume()
            }
        }
        served.withLockedValue { $0 = [:] }
        await Self.end(Array(members.values))
    }

    private static func end(_ members: [Member]) async {
        for member in members { member.leading?.cancel() }
        for member in members { await member.leading?.value }
        for member in members { member.following.cancel() }
        for member in members { await member.following.value }
    }
}

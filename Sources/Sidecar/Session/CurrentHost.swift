import AgentHost
import NIOConcurrencyHelpers
import SessionModel

/// The agent host of the moment: hosts come and go, drivers and the workspace keep this.
///
/// What they start is told all secrets that are known, so that the host keeps them out of its log.
final class CurrentHost: ProcessHost {
    private let secrets: KnownSecrets
    private let link = NIOLockedValueBox<(any ProcessHost)?>(nil)

    init(secrets: KnownSecrets) { self.secrets = secrets }

    func connect(_ host: any ProcessHost) { link.withLockedValue { $0 = host } }
    func disconnect() { link.withLockedValue { $0 = nil } }

    private func present() throws(HostError) -> any ProcessHost {
        guard let host = link.withLockedValue({ $0 }) else {
            throw HostError(.lost, "The agent host is not connected; it is being started again.")
        }
        return host
    }

    func start(_ spec: ProcessSpec) async throws(HostError) -> any HostedProcess {
        var spec = spec
        spec.secrets = secrets.values
        return try await present().start(spec)
    }

    func endAll(grace: TimeSpan) async throws(HostError) { try await present().endAll(grace: grace) }
    func processes() async throws(HostError) -> [HostedProcessInfo] { try await present().processes() }
}

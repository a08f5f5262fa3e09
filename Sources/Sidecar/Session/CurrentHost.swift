import AgentHost
import NIOConcurrencyHelpers
import SessionModel

/// The agent host of the moment: hosts come and go, drivers and the workspace keep this.
final class CurrentHost: ProcessHost {
    private let link = NIOLockedValueBox<(any ProcessHost)?>(nil)

    func connect(_ host: any ProcessHost) { link.withLockedValue { $0 = host } }
    func disconnect() { link.withLockedValue { $0 = nil } }

    private func present() throws(HostError) -> any ProcessHost {
        guard let host = link.withLockedValue({ $0 }) else {
            throw HostError(.lost, "The agent host is not connected; it is being started again.")
        }
        return host
    }

    func start(_ spec: ProcessSpec) async throws(HostError) -> any HostedProcess { try await present().start(spec) }
    func endAll(grace: TimeSpan) async throws(HostError) { try await present().endAll(grace: grace) }
    func processes() async throws(HostError) -> [HostedProcessInfo] { try await present().processes() }
}

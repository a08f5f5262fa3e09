import AgentHost
import SessionModel
import Support
import Workspace

/// One incarnation of a session on a fixture's repository, and what its workspace reported.
struct Incarnation {
    let workspace: Workspace
    let host = LocalProcessHost()
    private let steps = Steps()

    init(_ fixture: GitFixture, _ description: WorkspaceDescription, environment: [String: String] = [:]) {
        workspace = Workspace(
            description, directory: fixture.checkout, host: host,
            environment: fixture.environment.merging(environment) { $1 })
    }

    /// - Returns: the notes for the agent.
    @discardableResult
    func prepare(unless isStopped: @Sendable () async -> Bool = { false }) async throws(WorkspaceError) -> [String] {
        await steps.clear()
        return try await workspace.prepare(unless: isStopped) { [steps] step in await steps.append(step) }
    }

    /// Of the last ``prepare()``.
    var reported: [WorkspaceStep] { get async { await steps.all } }
    var kinds: [WorkspaceStep.Step] { get async { await steps.all.map(\.step) } }

    private actor Steps {
        var all: [WorkspaceStep] = []
        func append(_ step: WorkspaceStep) { all.append(step) }
        func clear() { all = [] }
    }
}

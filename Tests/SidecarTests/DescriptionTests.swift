import Logging
import SessionModel
import Support
import Testing

@testable import HTTPServing
@testable import Sidecar

/// docs/openapi.yaml says what there is. What it says of the answers `make fuzz-api` compares with a sidecar that runs.
@Suite struct DescriptionTests {
    @Test func everyRouteIsDescribed() throws {
        let home = try SidecarHome()
        let options = SessionOptions(
            state: home.path + "/state", key: nil, epoch: nil, agent: nil, workspace: WorkspaceDescription(),
            directory: home.path + "/workspace", runtime: home.path + "/run", limits: TurnLimits(),
            hostPlacement: .child(program: []))
        let session = try Session(options, logger: Logger(label: "test")) { _ in }
        let described = try OpenAPIDocument("openapi.yaml").operations
        let operations = SidecarAPI(session: session).routes.operations
        #expect(operations.subtracting(described) == [], "not described")
        #expect(described.subtracting(operations) == [], "there is no such route")
    }
}

import Foundation
import Rendering
import SessionModel
import Testing

@testable import Holdfast

/// One session in one look, as terminals of several widths show it.
@Suite struct SessionViewTests {
    private let message =
        "epoch 1 can neither be reached nor be known to have ended. If the node is gone for good, delete its Node object"

    private func view(width: Int) throws -> String {
        let start = Timestamp(milliseconds: 1_800_000_000_000)
        let key = try SessionKey(parsing: "pr:acme/widgets#12")
        var status = SessionResourceStatus(phase: .ready, since: start)
        status.epoch = 1
        status.conditions = [
            Condition(
                type: "NodeLost", status: .true, reason: "NodeLost",
                message: message,
                lastTransitionTime: start)
        ]
        status.history = [
            PhaseChange(at: start, phase: .starting, epoch: 1, message: nil),
            PhaseChange(at: start + .seconds(2), phase: .ready, epoch: 1, message: nil),
        ]
        let spec = SessionSpec(
            key: key, scope: ScopeSpec(kind: .pullRequest, repository: "github.com/acme/widgets", number: 12),
            worker: AgentDescription(driver: .acp, command: ["agent"]))
        let metadata = Metadata(name: key.name, uid: "u", resourceVersion: "1", creationTimestamp: start)
        return SessionView(
            session: SessionResource(kind: "Session", metadata: metadata, spec: spec, status: status), tasks: [],
            now: start + .minutes(3), palette: Palette(isColored: false), width: width
        ).text
    }

    @Test func aConditionIsShownToItsEndHoweverNarrowTheTerminal() throws {
        for width in [40, 60, 120] {
            let text = try view(width: width)
            let lines = text.split(separator: "\n").drop { $0 != "! NodeLost" }.dropFirst().prefix { $0.hasPrefix("  ") }
            #expect(lines.allSatisfy { $0.count <= width }, "\(text)")
            #expect(lines.map { $0.dropFirst(2) }.joined(separator: " ") == message, "\(text)")
        }
    }

    @Test func theTimelineSaysHowLongEachPhaseTook() throws {
        let lines = try view(width: 80).split(separator: "\n").suffix(2).map {
            $0.split(separator: " ").dropFirst(2).joined(separator: " ")
        }
        #expect(lines == ["○ Starting 2.0s epoch 1", "● Ready 2m 58s epoch 1"])
    }
}

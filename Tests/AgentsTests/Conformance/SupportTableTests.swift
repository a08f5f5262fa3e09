import Foundation
import SessionModel
import Testing

/// docs/agents.md says of each driver what the scenarios say. `HOLDFAST_WRITE_DOCS=1` writes it there.
@Suite struct SupportTableTests {
    private static let opening = "<!-- scenarios: written by the tests with HOLDFAST_WRITE_DOCS=1 -->\n"
    private static let closing = "<!-- end of scenarios -->"

    private static var table: String {
        let agents = AgentDescription.Driver.allCases.map { ConformanceAgent.scripted($0) }
        var notes: [String] = []
        func cell(_ agent: ConformanceAgent, _ scenario: Scenario) -> String {
            guard let reason = agent.cannot[scenario] else { return "✓" }
            if !notes.contains(reason) { notes.append(reason) }
            return "(\((notes.firstIndex(of: reason) ?? 0) + 1))"
        }
        var lines = [
            "| | " + agents.map { "`\($0.name)`" }.joined(separator: " | ") + " |",
            "| --- |" + String(repeating: " :-: |", count: agents.count),
        ]
        for scenario in Scenario.allCases {
            lines.append("| \(scenario.rawValue) | " + agents.map { cell($0, scenario) }.joined(separator: " | ") + " |")
        }
        for (index, note) in notes.enumerated() { lines.append((index == 0 ? "\n" : "") + "(\(index + 1)) \(note)  ") }
        return lines.joined(separator: "\n") + "\n"
    }

    @Test func theDocumentSaysWhatTheScenariosSay() throws {
        let path = ConformanceAgent.programs + "/../../docs/agents.md"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let start = try #require(text.range(of: Self.opening))
        let end = try #require(text.range(of: Self.closing))
        if ProcessInfo.processInfo.environment["HOLDFAST_WRITE_DOCS"] == "1" {
            let new = text[..<start.upperBound] + Self.table + text[end.lowerBound...]
            try String(new).write(toFile: path, atomically: true, encoding: .utf8)
        } else {
            #expect(
                text[start.upperBound..<end.lowerBound] == Self.table,
                "run make test with HOLDFAST_WRITE_DOCS=1, and commit docs/agents.md")
        }
    }
}

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

    /// What it says of agents, it names the tests of.
    @Test func theTestsOfWhatAgentsDoExist() throws {
        let folder = ConformanceAgent.programs + "/.."
        let text = try String(contentsOfFile: folder + "/../docs/agents.md", encoding: .utf8)
        let start = try #require(text.range(of: "<!-- facts"))
        let end = try #require(text.range(of: "<!-- end of facts -->"))
        let rows = text[start.lowerBound..<end.lowerBound].split(separator: "\n").filter { $0.hasPrefix("| ") }.dropFirst(2)
        var tests = ""
        for case let name as String in FileManager.default.enumerator(atPath: folder + "/AgentsTests") ?? .init()
        where name.hasSuffix(".swift") {
            tests += try String(contentsOfFile: "\(folder)/AgentsTests/\(name)", encoding: .utf8)
        }
        for row in rows {
            let named = row.split(separator: "|").last ?? ""
            let functions = named.matches(of: /`(\w+)`/).map { String($0.1) }
            let scenarios = named.matches(of: /“([^”]+)”/).map { String($0.1) }
            #expect(!(functions + scenarios).isEmpty, "\(row)")
            for function in functions { #expect(tests.contains("func \(function)("), "\(function)") }
            for scenario in scenarios { #expect(Scenario(rawValue: scenario) != nil, "\(scenario)") }
        }
        #expect(rows.count > 20)
    }
}

import Foundation
import SessionModel

/// The agents that Tasks can name instead of describing one.
struct AgentPresets: Sendable {
    /// Taken by Tasks that name none.
    private(set) var fallback: AgentDescription?
    private var presets: [String: AgentDescription] = [:]

    /// - Parameters:
    ///   - directory: JSON files, each an ``AgentDescription`` under its file's name.
    ///   - demo: the demonstration agent's binary, if it is there.
    ///   - fallback: a preset's name or a JSON file.
    init(directory: String?, demo: String?, fallback: String?) throws(LocalError) {
        presets["claude"] = AgentDescription(driver: .claudeCode, command: ["claude"])
        presets["codex"] = AgentDescription(driver: .codex)
        if let demo { presets["demo"] = AgentDescription(driver: .acp, command: [demo]) }
        if let directory {
            guard let names = try? FileManager.default.contentsOfDirectory(atPath: directory) else {
                throw LocalError("the directory of agents \(directory) cannot be read")
            }
            for name in names.sorted() where name.hasSuffix(".json") {
                presets[String(name.dropLast(5))] = try Self.read("\(directory)/\(name)")
            }
        }
        if let name = fallback {
            if let preset = presets[name] {
                self.fallback = preset
            } else if name.contains("/") || name.hasSuffix(".json") {
                self.fallback = try Self.read(name)
            } else {
                throw LocalError(unknown(name))
            }
        }
    }

    /// - Throws: ``Problem`` that lists the names there are.
    func named(_ name: String) throws(Problem) -> AgentDescription {
        guard let preset = presets[name] else { throw Problem(.invalidRequest, unknown(name) + ".") }
        return preset
    }

    private func unknown(_ name: String) -> String {
        let known = presets.keys.sorted().joined(separator: ", ")
        return
            "there is no agent named “\(name)”; \(known.isEmpty ? "none is configured: use --agents-dir" : "there are: \(known)")"
    }

    private static func read(_ path: String) throws(LocalError) -> AgentDescription {
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw LocalError("the agent's file \(path) cannot be read")
        }
        do {
            let agent = try JSON.decode(AgentDescription.self, from: bytes)
            if let mistake = agent.mistake { throw LocalError("\(path): \(mistake)") }
            return agent
        } catch let error as LocalError {
            throw error
        } catch {
            throw LocalError("\(path): \((error as? DecodingError)?.clause ?? "\(error)")")
        }
    }
}

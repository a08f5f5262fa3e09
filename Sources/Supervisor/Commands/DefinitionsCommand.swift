import ArgumentParser
import Foundation
import Kubernetes

/// `holdfast-supervisor crds`
struct DefinitionsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crds", abstract: "Prints the definitions of the custom resources, as deploy/crds has them.")

    @Option(help: "Write each to a file in this directory instead.")
    var directory: String?

    func run() async throws {
        let files = try CustomResources.files()
        guard let directory else { return print(files.map(\.text).joined(separator: "---\n"), terminator: "") }
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        for file in files { try file.text.write(toFile: "\(directory)/\(file.name)", atomically: true, encoding: .utf8) }
    }
}

import Foundation
import Processes
import SessionModel

/// Measures how the supervisor keeps many sessions, with sidecars that are simulated and everything else as it is: store,
/// manager, controllers. Each measurement is a process of its own.
///
/// What a connection to a real sidecar takes comes on top of that, and is measured by itself.
@main
struct Main {
    static func main() async {
        do {
            let arguments = CommandLine.arguments.dropFirst()
            let counts = [100, 1000, 10_000]
            if arguments.count == 3, let count = arguments.last.flatMap({ Int($0) }),
                let kind = Fleet.Kind(rawValue: Array(arguments)[1])
            {
                print(
                    try JSON.string(try await SessionBenchmark(directory: arguments.first ?? "", kind: kind, count: count).run()))
            } else if arguments.count == 2, arguments.last == "connection" {
                print(try JSON.string(try await ConnectionBenchmark(directory: arguments.first ?? "").run()))
            } else if arguments.count == 2, arguments.last == "copies" {
                print(try JSON.string(try await ClusterBenchmark(count: 10_000).copies()))
            } else if arguments.count == 2, arguments.last == "cluster" {
                print(try JSON.string(try await ClusterBenchmark(count: 2000).live()))
            } else if arguments.count == 1, let directory = arguments.first {
                var table = Table()
                for kind in Fleet.Kind.allCases {
                    try report(
                        kind, try counts.map { try measureAlone(Figures.self, [directory, kind.rawValue, "\($0)"]) }, &table)
                }
                let connection = try measureAlone(Double.self, [directory, "connection"])
                table.add("a long-poll that waits on a Unix socket", "\(short(connection)) bytes")
                report(
                    try measureAlone(CopyFigures.self, [directory, "copies"]),
                    try measureAlone(LiveFigures.self, [directory, "cluster"]), &table)
            } else {
                throw Failure(
                    "usage: holdfast-bench-sessions DIR [\(Fleet.Kind.allCases.map(\.rawValue).joined(separator: "|")) COUNT | connection | copies | cluster]"
                )
            }
        } catch {
            FileHandle.standardError.write(Data("holdfast-bench-sessions: \(error)\n".utf8))
            exit(1)
        }
    }

    /// A cluster's figures, whose API server is the tests' double in the same process.
    private static func report(_ copies: CopyFigures, _ live: LiveFigures, _ table: inout Table) {
        table.add("\(short(Double(copies.count))) Sessions of a cluster, copied and followed", "")
        table.add("  memory, per Session", "\(short(copies.bytesPerObject)) bytes")
        table.add(
            "  until all are there", "\(short(copies.sync * 1000)) ms", "reading them alone, \(short(copies.list * 1000)) ms",
            short(copies.sync / copies.list))
        table.add("\(short(Double(live.count))) living sessions of a cluster", "")
        table.add("  a restarted supervisor is current after", "\(short(live.restart * 1000)) ms")
        table.add(
            "  a sidecar's news is stored after", "p50 \(short(live.latencyP50)), p99 \(short(live.latencyP99)) ms",
            "one write alone, p50 \(short(live.write)) ms", short(live.latencyP50 / live.write))
        table.add("  processor at rest", "\(short(live.atRest * 100)) % of a core")
        table.add(
            "  requests to the API server", "\(short(live.requestsPerSessionHour)) per session-hour at rest",
            "\(short(live.requestsPerChange)) per change")
    }

    private static func measureAlone<Value: Decodable>(_ type: Value.Type, _ arguments: [String]) throws -> Value {
        let process = Process()
        process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments = arguments
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Failure("\(arguments.dropFirst()) could not be measured") }
        return try JSON.decode(type, from: text)
    }

    /// One line for each figure, at each number of sessions; the last column compares the largest number with the one before.
    private static func report(_ kind: Fleet.Kind, _ figures: [Figures], _ table: inout Table) throws {
        guard figures.count > 1, let last = figures.last else { return }
        let before = figures[figures.count - 2]
        func line(_ value: (Figures) -> Double, _ unit: String) -> String {
            figures.map { short(value($0)) }.joined(separator: " / ") + " " + unit
        }
        let growth = Double(last.count) / Double(before.count)
        let sizes = figures.map { short(Double($0.count)) }.joined(separator: " / ")
        table.add("\(sizes) \(kind.rawValue) sessions", "")
        table.add(
            "  memory, per session", line(\.bytesPerSession, "bytes"), "10 times as many: × 10",
            short(last.bytesPerSession / before.bytesPerSession * growth), aim: "< 4,096", met: last.bytesPerSession < 4096)
        table.add("  processor at rest", line({ $0.atRest * 100 }, "% of a core"), "", short(last.atRest / before.atRest))
        table.add(
            "  lateness of \(kind.enforcement), p99", line(\.latenessP99, "ms"), "does not grow",
            short(last.latenessP99 / before.latenessP99), aim: "< 1,000", met: last.latenessP99 < 1000)
        table.add(
            "  a restarted supervisor is current after", line(\.restart, "ms"), "10 times as many: × 10",
            short(last.restart / before.restart), aim: "linear", met: last.restart / before.restart < growth * 1.3)
    }
}

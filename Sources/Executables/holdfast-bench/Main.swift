import FoundationEssentials
import Glibc

/// Measures the release binaries on this machine and prints one table. `benchmarks/run.sh` builds and calls it.
@main
struct Main {
    static func main() async {
        signal(SIGPIPE, SIG_IGN)
        do {
            let arguments = Array(CommandLine.arguments.dropFirst())
            if arguments.first == "peer" {
                try Peer.run(
                    events: arguments.count > 1 ? Int(arguments[1]) ?? 0 : 0, stamps: arguments.count > 2 ? arguments[2] : "")
            } else {
                print(try await measure(try Settings(arguments)).text)
            }
        } catch {
            let text = "holdfast-bench: \(error)\n"
            text.withCString { _ = write(STDERR_FILENO, $0, strlen($0)) }
            exit(1)
        }
    }

    private static func measure(_ settings: Settings) async throws -> Table {
        var table = Table()
        func wanted(_ name: String) -> Bool { settings.only?.contains(name) ?? true }
        // The best of several: a neighbour's work must not flatter the ratios.
        let bare = try (0..<3).map { _ in try Disk.syncedAppends(in: settings.directory, seconds: 0.7) }.max() ?? .nan
        if wanted("enqueue") { try EnqueueBenchmark(settings: settings).run(&table, bare: bare) }
        if wanted("transcript") { try TranscriptBenchmark(settings: settings).run(&table, bare: bare) }
        if wanted("sidecar") { try await SidecarBenchmark(settings: settings).run(&table) }
        if wanted("followup") { try FollowUpBenchmark(settings: settings).run(&table) }
        return table
    }
}

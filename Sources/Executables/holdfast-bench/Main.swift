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
                try await measure(try Settings(arguments))
            }
        } catch {
            let text = "holdfast-bench: \(error)\n"
            text.withCString { _ = write(STDERR_FILENO, $0, strlen($0)) }
            exit(1)
        }
    }

    private static func measure(_ settings: Settings) async throws {
        var table = Table()
        sync()  // What a build has left unwritten would be in the way.
        try EnqueueBenchmark(settings: settings).run(&table)
        if settings.wants("transcript") { try TranscriptBenchmark(settings: settings).run(&table) }
        try await SidecarBenchmark(settings: settings).run(&table)
        if settings.wants("followup") { try FollowUpBenchmark(settings: settings).run(&table) }
        if table.missed { print("\nAn aim was missed. What else the machine does counts: run it on a quiet one.") }
    }
}

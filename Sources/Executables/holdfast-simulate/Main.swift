import Foundation
import Simulation

/// `holdfast-simulate FIRST[..LAST] [dense]`: runs seeds, and reports the first that fails. In dense plans several times as much
/// happens, at almost the same time.
@main
struct Main {
    static func main() {
        var arguments = Array(CommandLine.arguments.dropFirst())
        let dense = arguments.last == "dense"
        if dense { arguments.removeLast() }
        let bounds = (arguments.first ?? "1..10000").split(separator: ".").compactMap { UInt64($0) }
        guard let first = bounds.first, let last = bounds.last, first <= last else {
            print("usage: holdfast-simulate FIRST[..LAST] [dense]")
            exit(64)
        }
        let begin = Date()
        var steps = 0
        for seed in first...last {
            let result = Simulation.run(seed: seed, dense: dense)
            steps += result.steps
            if let failure = result.failure {
                print(failure.report)
                exit(1)
            }
        }
        let seconds = max(0.001, Date().timeIntervalSince(begin))
        print(
            "\(last - first + 1) runs, \(steps) steps in \(String(format: "%.1f", seconds))s "
                + "(\(Int(Double(steps) / seconds * 60)) a minute): no rule was broken")
    }
}

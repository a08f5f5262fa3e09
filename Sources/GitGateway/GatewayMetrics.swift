import NIOConcurrencyHelpers
import SessionModel

/// What the gateway counts since it started.
public final class GatewayMetrics: Sendable {
    private struct Counters {
        var transfers: [GitTransfer.Operation: [GitTransfer.Outcome: Int]] = [:]
        var sent: Int64 = 0
        var received: Int64 = 0
        var unauthorized = 0
    }
    private let counters = NIOLockedValueBox(Counters())

    public init() {}

    func count(_ transfer: GitTransfer) {
        counters.withLockedValue { counters in
            counters.transfers[transfer.operation, default: [:]][transfer.outcome, default: 0] += 1
            counters.sent += transfer.sentBytes
            counters.received += transfer.receivedBytes
        }
    }

    func countUnauthorized() { counters.withLockedValue { $0.unauthorized += 1 } }

    /// In the text format of Prometheus.
    public var text: String {
        let counters = counters.withLockedValue(\.self)
        var text = """
            # HELP holdfast_git_transfers_total Fetches and pushes through the git gateway, by outcome.
            # TYPE holdfast_git_transfers_total counter

            """
        for operation in GitTransfer.Operation.allCases {
            for outcome in GitTransfer.Outcome.allCases {
                let count = counters.transfers[operation]?[outcome] ?? 0
                text +=
                    "holdfast_git_transfers_total{operation=\"\(operation.rawValue)\",outcome=\"\(outcome.rawValue)\"} \(count)\n"
            }
        }
        return text + """
            # HELP holdfast_git_bytes_total Bytes that the git gateway has passed on, by direction.
            # TYPE holdfast_git_bytes_total counter
            holdfast_git_bytes_total{direction="to_forge"} \(counters.sent)
            holdfast_git_bytes_total{direction="from_forge"} \(counters.received)
            # HELP holdfast_git_unauthorized_total Requests without a credential that is good for their repository.
            # TYPE holdfast_git_unauthorized_total counter
            holdfast_git_unauthorized_total \(counters.unauthorized)

            """
    }
}

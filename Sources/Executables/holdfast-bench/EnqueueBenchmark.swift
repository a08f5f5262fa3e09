import FoundationEssentials
import Glibc

/// How many turns a second a sidecar accepts, each on disk before it is acknowledged.
struct EnqueueBenchmark {
    let settings: Settings

    private static let prompt = String(repeating: "Please look at the failing test and fix it. ", count: 5).prefix(200)
    private static let rounds = 5

    func run(_ table: inout Table) throws {
        for clients in [1, 64] {
            for overTCP in [false, true] where settings.wants("enqueue-\(overTCP ? "tcp" : "unix")-\(clients)") {
                try measure(clients, overTCP, &table)
            }
        }
    }

    private func measure(_ clients: Int, _ overTCP: Bool, _ table: inout Table) throws {
        var (bare, probes, accepted) = (Rounds(), Rounds(), Rounds())
        for _ in 0..<Self.rounds {
            bare.add(try Disk.syncedAppends(in: settings.directory, seconds: settings.seconds / 2))
            try withServer(overTCP: overTCP) { endpoint in
                let live = endpoint.request("GET", "/livez")
                _ = try Load.run(endpoint, clients: clients, seconds: 0.1, expecting: 200) { _ in live }
                probes.add(try Load.run(endpoint, clients: clients, seconds: settings.seconds, expecting: 200) { _ in live })
                accepted.add(
                    try Load.run(endpoint, clients: clients, seconds: settings.seconds, expecting: 202) { number in
                        endpoint.request(
                            "POST", "/v1/turns", headers: "Idempotency-Key: bench-\(number)\r\n",
                            body: #"{"prompt":"\#(number) \#(Self.prompt)"}"#)
                    })
            }
        }
        let name = overTCP ? "TCP" : "Unix socket"
        let many = clients > 1
        let latencies = accepted.latencies
        let p99 = latencies.percentile(0.99)
        let toDisk = accepted.ratio(to: bare)
        let toProbes = accepted.ratio(to: probes)
        table.add(
            "durable enqueue, \(name), \(clients) client\(many ? "s" : "")", "\(short(accepted.rate))/s",
            "append + fdatasync alone, \(short(bare.rate))/s", short(toDisk), aim: many ? "≥ 1.5" : "",
            met: many ? toDisk >= 1.5 : nil)
        table.add(
            "", "", "/livez, \(short(probes.rate))/s", short(toProbes), aim: many ? "≥ 0.4" : "",
            met: many ? toProbes >= 0.4 : nil)
        table.add(
            "", "p50 \(short(latencies.percentile(0.5))) ms, p99 \(short(p99)) ms",
            "one fdatasync, p99 \(short(bare.latencies.percentile(0.99))) ms", "", aim: many ? "p99 < 20 ms" : "",
            met: many ? p99 < 20 : nil)
    }

    /// A sidecar of its own for each round, so that its queue is never longer than a round makes it.
    private func withServer(overTCP: Bool, _ body: (Endpoint) throws -> Void) throws {
        let state = try settings.fresh("enqueue")
        defer { settings.remove(state) }
        let token = "0123456789abcdef0123456789abcdef"
        try Data(token.utf8).write(to: URL(filePath: state + "/token"))
        let port = try freePort()
        let server = try settings.sidecar(
            state: state,
            ["--listen", "127.0.0.1:\(port)", "--token-file", state + "/token", "--max-queued-turns", "100000000"])
        defer { server.stop() }
        let endpoint = overTCP ? Endpoint.tcp(port: port, token: token) : server.endpoint
        // Ready on the Unix socket, it may not listen here yet.
        for _ in 0..<1000 {
            if try endpoint.call("GET", "/readyz") != nil { break }
            usleep(1000)
        }
        try body(endpoint)
    }
}

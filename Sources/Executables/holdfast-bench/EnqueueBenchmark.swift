import FoundationEssentials
import Glibc

/// How many turns a second a sidecar accepts, each on disk before it is acknowledged.
struct EnqueueBenchmark {
    let settings: Settings

    private static let prompt = String(repeating: "Please look at the failing test and fix it. ", count: 5).prefix(200)

    func run(_ table: inout Table, bare: Double) throws {
        for clients in [1, 64] {
            for overTCP in [false, true] { try measure(clients, overTCP, bare: bare, &table) }
        }
    }

    private func measure(_ clients: Int, _ overTCP: Bool, bare: Double, _ table: inout Table) throws {
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
        let live = endpoint.request("GET", "/livez")
        _ = try Load.run(endpoint, clients: clients, seconds: 0.3, expecting: 200) { _ in live }
        let probe = try Load.run(endpoint, clients: clients, seconds: settings.seconds, expecting: 200) { _ in live }
        let load = try Load.run(endpoint, clients: clients, seconds: settings.seconds, expecting: 202) { number in
            endpoint.request(
                "POST", "/v1/turns", headers: "Idempotency-Key: bench-\(number)\r\n",
                body: #"{"prompt":"\#(number) \#(Self.prompt)"}"#)
        }
        let what = "durable enqueue, \(endpoint.name), \(clients) client\(clients == 1 ? "" : "s")"
        let p99 = load.latencies.percentile(0.99)
        let many = clients > 1
        table.add(
            what, "\(short(load.rate))/s", "append + fdatasync alone, \(short(bare))/s", short(load.rate / bare),
            aim: many ? "≥ 1.5" : "", met: many ? load.rate / bare >= 1.5 : nil)
        table.add(
            "", "p50 \(short(load.latencies.percentile(0.5))) ms, p99 \(short(p99)) ms", "/livez, \(short(probe.rate))/s",
            short(load.rate / probe.rate), aim: many ? "≥ 0.4, p99 < 20 ms" : "",
            met: many ? load.rate / probe.rate >= 0.4 && p99 < 20 : nil)
    }
}

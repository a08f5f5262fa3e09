import Curl
import Foundation
import SessionModel
import Support
import Testing

@Suite struct ActivityTests {
    @Test func aLongPollWakesAtOnce() async throws {
        try await SidecarProcess.with { sidecar in
            let before = try await sidecar.json(Activity.self, "GET", "/v1/activity")
            #expect(!before.busy)
            async let waiting = sidecar.json(Activity.self, "GET", "/v1/activity?after=\(before.version)&wait=50s")
            let clock = ContinuousClock.now
            try await sidecar.enqueue("x")
            let after = try await waiting
            #expect(ContinuousClock.now - clock < .seconds(20))
            #expect(after.version > before.version && after.busy && after.queued == 1)
            // Another version than the present one is answered at once; the present one when the wait is over.
            #expect(try await sidecar.json(Activity.self, "GET", "/v1/activity?after=\(before.version)&wait=50s").queued == 1)
            let quiet = try await sidecar.json(Activity.self, "GET", "/v1/activity")
            #expect(
                try await sidecar.json(Activity.self, "GET", "/v1/activity?after=\(quiet.version)&wait=50ms").version
                    == quiet.version)
            #expect(try await problem(sidecar, "GET", "/v1/activity?after=x&wait=1s").problem.kind == .invalidRequest)
        }
    }

    @Test func oneConnectionServesOneLongPollAfterTheOther() async throws {
        try await SidecarProcess.with { sidecar in
            let version = try await sidecar.json(Activity.self, "GET", "/v1/activity").version
            try await blocking {
                let connection = try RawConnection(socket: sidecar.home.socket)
                for _ in 1...3 {
                    connection.send("GET /v1/activity?after=\(version)&wait=20ms HTTP/1.1\r\nHost: sidecar\r\n\r\n")
                    let answer = try connection.read(until: "}")
                    #expect(answer.hasPrefix("HTTP/1.1 200"))
                    #expect(!answer.lowercased().contains("connection: close"))
                }
            }
        }
    }

    @Test func aConditionalDrainIsRefusedWhileBusyAndFinalWhenTaken() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            try await sidecar.enqueue("run: sleep 60")
            _ = try await sidecar.turn(TurnID(1), in: [.running])
            let busy = try await problem(sidecar, "POST", "/v1/drain", body: #"{"ifIdleFor":"0s"}"#)
            #expect(busy.problem.kind == .busy)
            #expect(busy.problem.activity?.running == TurnID(1))
            try await sidecar.send("DELETE", "/v1/turns/t1")
            _ = try await sidecar.end(of: TurnID(1))
            #expect(try await problem(sidecar, "POST", "/v1/drain", body: #"{"ifIdleFor":"1h"}"#).problem.kind == .busy)
            let yes = try await sidecar.json(Activity.self, "POST", "/v1/drain", body: #"{"ifIdleFor":"0s"}"#)
            #expect(yes.draining)
            #expect(try await problem(sidecar, "GET", "/readyz").problem.kind == .notReady)
            #expect(try await sidecar.send("GET", "/livez").status == 200)
            #expect(try await problem(sidecar, "POST", "/v1/turns", body: #"{"prompt":"x"}"#).problem.kind == .draining)
            try await sidecar.until { try await sidecar.json(Activity.self, "GET", "/v1/activity").drained }
            // Asking again changes nothing.
            #expect(try await sidecar.send("POST", "/v1/drain").status == 202)
            #expect(try await sidecar.events().count { if case .sessionDraining = $0.body { true } else { false } } == 1)
        }
    }

    @Test func aLeaseKeepsTheSessionFromBeingIdle() async throws {
        try await SidecarProcess.with { sidecar in
            let lease = try await sidecar.json(Activity.self, "POST", "/v1/keepalive", body: #"{"for":"1h"}"#)
            #expect(lease.keepAliveUntil != nil && lease.busy)
            #expect(try await problem(sidecar, "POST", "/v1/drain", body: #"{"ifIdleFor":"0s"}"#).problem.kind == .busy)
            for body in ["{}", #"{"for":"-1s"}"#, #"{"for":"soon"}"#, #"{"for":12}"#] {
                #expect(
                    try await problem(sidecar, "POST", "/v1/keepalive", body: body).problem.kind == .invalidRequest, "\(body)")
            }
        }
    }

    @Test func anAttachedFollowerKeepsTheSessionFromBeingIdle() async throws {
        try await SidecarProcess.with { sidecar in
            let request = sidecar.request(
                "GET", "/v1/transcript?attach=true", headers: ["Accept": "text/event-stream"], timeout: nil)
            let follower = Task {
                let stream = try await sharedStream(request)
                for try await _ in stream.body {}
            }
            try await sidecar.until { try await sidecar.json(Activity.self, "GET", "/v1/activity").attached == 1 }
            #expect(try await problem(sidecar, "POST", "/v1/drain", body: #"{"ifIdleFor":"0s"}"#).problem.kind == .busy)
            follower.cancel()
            try await sidecar.until { try await sidecar.json(Activity.self, "GET", "/v1/activity").attached == 0 }
            #expect(try await sidecar.send("POST", "/v1/drain", body: #"{"ifIdleFor":"0s"}"#).status == 202)
        }
    }

    @Test func probesAndMetrics() async throws {
        try await SidecarProcess.with(agent: .demo()) { sidecar in
            try await sidecar.waitUntilReady()
            try await sidecar.enqueue("say: x")
            _ = try await sidecar.end(of: TurnID(1))
            let answer = try await sidecar.send("GET", "/metrics")
            #expect(answer.header("Content-Type")?.hasPrefix("text/plain; version=0.0.4") == true)
            let text = String(decoding: answer.body, as: UTF8.self)
            #expect(text.contains("holdfast_sidecar_turns_ended_total{state=\"succeeded\"} 1\n"))
            #expect(text.contains("holdfast_sidecar_ready 1\n"))
            for line in text.split(separator: "\n") where !line.hasPrefix("#") {
                #expect(line.split(separator: " ").last.flatMap { Double($0) } != nil, "\(line)")
            }
            // HEAD answers as GET does, without a body.
            let head = try await sidecar.send("HEAD", "/readyz")
            #expect(head.status == 200 && head.body.isEmpty)
        }
    }
}

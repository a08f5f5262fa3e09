import FoundationEssentials
import Glibc
import SessionModel

/// How many events a second come from an agent through the journal to everyone who follows.
struct TranscriptBenchmark {
    let settings: Settings
    private static let events = 20_000

    func run(_ table: inout Table) throws {
        let bare = try Disk.syncedAppends(in: settings.directory, seconds: 1).rate
        let one = try measure(followers: 1)
        let many = try measure(followers: 50)
        table.add(
            "transcript, agent → journal → 1 follower", "\(short(one))/s", "append + fdatasync alone, \(short(bare))/s",
            short(one / bare))
        table.add(
            "transcript, agent → journal → 50 followers", "\(short(many))/s, \(short(many * 50))/s delivered",
            "1 follower, delivered", short(many * 50 / one))
    }

    /// - Returns: events per second, from the first to the moment at which the last follower has the last.
    private func measure(followers count: Int) throws -> Double {
        let state = try settings.fresh("transcript")
        defer { settings.remove(state) }
        let server = try settings.sidecar(state: state, ["--agent", try settings.peer(in: state, events: Self.events)])
        defer { server.stop() }
        var followers: [Follower] = []
        defer { for follower in followers { close(follower.fd) } }
        let follow = server.endpoint.request(
            "GET", "/v1/transcript?follow=true", headers: "Accept: application/x-ndjson\r\n")
        for _ in 0..<count {
            guard let fd = try server.endpoint.connect(), write(fd, follow, follow.count) == follow.count else {
                throw Failure("the sidecar took no follower")
            }
            _ = fcntl(fd, F_SETFL, O_NONBLOCK)
            followers.append(Follower(fd: fd))
        }
        _ = try server.call("POST", "/v1/turns", body: #"{"prompt":"print"}"#)
        let start = monotonic()
        var last = start
        var total = Int.max
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        var waits = followers.map { pollfd(fd: $0.fd, events: Int16(POLLIN), revents: 0) }
        while followers.contains(where: { $0.lines < total }) {
            _ = try check(poll(&waits, nfds_t(count), 200), "poll")
            for index in followers.indices where waits[index].revents != 0 {
                let bytes = read(followers[index].fd, &buffer, buffer.count)
                guard bytes > 0 else { throw Failure("a follower was disconnected after \(followers[index].lines) events") }
                followers[index].take(buffer[..<bytes])
                last = monotonic()
            }
            // The sidecar is asked only when everyone has about what there will be, so that the question costs nothing.
            if total == .max, followers.allSatisfy({ $0.lines >= Self.events }),
                try JSON.decode(Turn.self, from: server.call("GET", "/v1/turns/t1")).state.isTerminal
            {
                total = try Int(JSON.decode(Activity.self, from: server.call("GET", "/v1/activity")).cursor.sequence)
            }
            guard monotonic() - start < 120_000_000_000 else {
                throw Failure("the followers do not have everything after two minutes")
            }
        }
        return Double(total) * 1e9 / Double(last - start)
    }

    private struct Follower {
        let fd: Int32
        /// Event lines; those of the chunked encoding end with a carriage return before the newline.
        private(set) var lines = 0
        private var before: UInt8 = 0

        init(fd: Int32) { self.fd = fd }

        mutating func take(_ bytes: ArraySlice<UInt8>) {
            bytes.withUnsafeBytes { bytes in
                var position = 0
                while let base = bytes.baseAddress, position < bytes.count,
                    let found = memchr(base + position, 10, bytes.count - position)
                {
                    let index = found - UnsafeMutableRawPointer(mutating: base)
                    let previous = index > 0 ? bytes[index - 1] : before
                    if previous != 13 { lines += 1 }
                    position = index + 1
                }
                before = bytes.last ?? before
            }
        }
    }
}

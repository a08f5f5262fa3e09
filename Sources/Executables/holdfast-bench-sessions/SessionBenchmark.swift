import Foundation
import Glibc
import Logging
import SessionModel

@testable import Supervisor

struct Figures: Codable {
    var count: Int
    var bytesPerSession: Double
    /// The share of one core.
    var atRest: Double
    /// Milliseconds.
    var latenessP99: Double
    var restart: Double
}

/// One supervisor that is started on so many sessions.
struct SessionBenchmark {
    let directory: String
    let kind: Fleet.Kind
    let count: Int

    func run() async throws -> Figures {
        let path = "\(directory)/store-\(kind.rawValue)-\(count)"
        try? FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }

        // What is there before the first session: a supervisor that has run once.
        let warm = try await Fleet(directory: path + "/warm", kind: kind, count: 20)
        _ = try await warm.start()
        await warm.close()

        let fleet = try await Fleet(directory: path + "/fleet", kind: kind, count: count)
        Memory.giveBackFree()
        let before = try Memory.resident()
        let restart = try await fleet.start()
        try await Task.sleep(for: .seconds(1))
        // What a start has needed for a moment may be used again, and is not what a session costs.
        Memory.giveBackFree()
        let after = try Memory.resident()
        let (used, time) = (Self.processorTime(), ContinuousClock.now)
        try await Task.sleep(for: .seconds(10))
        let atRest = (Self.processorTime() - used) / (ContinuousClock.now - time).seconds
        let lateness = try await fleet.enforce(on: min(count, 100), within: .seconds(10)).sorted()
        await fleet.close()
        return Figures(
            count: count, bytesPerSession: max(0, after - before) / Double(count), atRest: atRest,
            latenessP99: Double(lateness[lateness.count * 99 / 100].milliseconds),
            restart: restart.seconds * 1000)
    }

    /// Seconds that this process has used.
    static func processorTime() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }
}

/// This process's memory.
enum Memory {
    /// What is free goes back to the system, so that what making something has left is not what keeping it is given.
    static func giveBackFree() {
        typealias Trim = @convention(c) (Int) -> Int32
        if let trim = dlsym(nil, "malloc_trim") { _ = unsafeBitCast(trim, to: Trim.self)(0) }
    }

    /// Anonymous resident memory, bytes.
    static func resident() throws -> Double {
        let text = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("RssAnon:") }),
            let size = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Double($0) })
        else { throw Failure("/proc/self/status has no RssAnon") }
        return size * 1024
    }
}

/// What makes a figure meaningless.
struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}

import Glibc

/// Nanoseconds on the monotonic clock.
func monotonic() -> UInt64 { nanoseconds(CLOCK_MONOTONIC) }

/// Nanoseconds since 1970, which processes of one machine can compare.
func wallClock() -> UInt64 { nanoseconds(CLOCK_REALTIME) }

private func nanoseconds(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Durations of one thing done many times, in nanoseconds.
struct Samples {
    private var values: [UInt64]

    init(_ values: [UInt64]) { self.values = values.sorted() }

    var count: Int { values.count }

    /// In milliseconds. Not a number when there are no samples.
    func percentile(_ share: Double) -> Double {
        guard !values.isEmpty else { return .nan }
        return Double(values[min(values.count - 1, Int(Double(values.count) * share))]) / 1e6
    }
}

/// One thing done again and again for a while.
struct Run {
    var latencies: [UInt64]
    var seconds: Double
    var rate: Double { Double(latencies.count) / seconds }
}

/// Runs of several rounds. A round measures things that are compared one right after the other, so that a machine or a disk that
/// is now faster and now slower does not change their ratio; what counts is the median of the rounds.
struct Rounds {
    private var runs: [Run] = []

    mutating func add(_ run: Run) { runs.append(run) }

    var rate: Double { Rounds.median(runs.map(\.rate)) }
    var latencies: Samples { Samples(runs.flatMap(\.latencies)) }

    /// How many times as fast as the others, round by round.
    func ratio(to others: Rounds) -> Double { Rounds.median(zip(runs, others.runs).map { $0.rate / $1.rate }) }

    private static func median(_ values: [Double]) -> Double { values.isEmpty ? .nan : values.sorted()[values.count / 2] }
}

/// What makes a figure meaningless, so that no table is printed from it.
struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

func check(_ result: Int32, _ what: String) throws -> Int32 {
    guard result >= 0 else { throw Failure("\(what): \(String(cString: strerror(errno)))") }
    return result
}

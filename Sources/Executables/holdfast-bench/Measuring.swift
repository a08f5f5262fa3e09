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

/// What makes a figure meaningless, so that no table is printed from it.
struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

func check(_ result: Int32, _ what: String) throws -> Int32 {
    guard result >= 0 else { throw Failure("\(what): \(String(cString: strerror(errno)))") }
    return result
}

import Foundation
import SessionModel
import Support
import Testing

@Suite struct TimeSpanTests {
    @Test(
        arguments: [
            ("30s", 30_000), ("5m", 300_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("2w", 1_209_600_000), ("250ms", 250),
            ("0s", 0),
            ("1.5h", 5_400_000), ("0.5s", 500), ("1d2h3m4s5ms", 93_784_005), ("PT1H30M", 5_400_000), ("P7D", 604_800_000),
            ("P1W", 604_800_000),
            ("P1DT12H", 129_600_000), ("PT0.5S", 500), ("PT0S", 0), ("90m", 5_400_000),
        ] as [(String, Int64)])
    func everyFormIsRead(_ text: String, _ milliseconds: Int64) throws {
        #expect(try TimeSpan(parsing: text).milliseconds == milliseconds)
    }

    @Test(arguments: [
        "", " ", "s", "5", "5 m", " 5m", "5m ", "-5m", "5x", "5m5m", "1h1h", "m5", "1..5s", ".", ".s", "1e3s", "inf", "nan", "5M",
        "P", "PT", "P1H",
        "PT1D", "P1DT", "PTS", "p1d", "P1Y", "99999999999999999999s", "9999999999999999w", "٣s", "5µs", "1h-5m", "0x5s",
    ])
    func garbageIsRefusedWithWhatIsAccepted(_ text: String) {
        let error = #expect(throws: InvalidTimeSpan.self) { try TimeSpan(parsing: text) }
        #expect(error?.description.contains("30s, 5m, 1h30m") == true)
    }

    @Test func whatIsPrintedIsReadAgain() throws {
        var random = SeededRandom(seed: 3)
        for digits in 0..<15 {
            for _ in 0..<100 {
                let span = TimeSpan(milliseconds: Int64.random(in: 0...Int64(pow(10, Double(digits))), using: &random))
                #expect(try TimeSpan(parsing: span.description) == span)
                #expect(try JSON.decode(TimeSpan.self, from: JSON.encode(span)) == span)
            }
        }
        #expect(TimeSpan(milliseconds: .min).description.hasPrefix("-"))
        #expect(TimeSpan.minutes(90).description == "1h30m")
    }
}

@Suite struct TimestampTests {
    private static let format = Date.ISO8601FormatStyle(includingFractionalSeconds: true)

    @Test func isWrittenAsFoundationWritesIt() {
        var random = SeededRandom(seed: 4)
        var moments = (0..<3000).map { _ in Int64.random(in: 0...4_102_444_800_000, using: &random) }
        let day: Int64 = 86_400_000
        // The days around the ends of Februaries of common, leap, secular and 400-year leap years, to the millisecond.
        for year in [1972, 1999, 2000, 2023, 2024, 2025, 2096, 2100, 2400] {
            let march = Self.days(year, 3, 1) * day
            moments += [march - 2 * day, march - day - 1, march - day, march - 1, march, march + day]
            let january = Self.days(year, 1, 1) * day
            moments += [january - 1, january, january + 1]
        }
        for moment in moments {
            let stamp = Timestamp(milliseconds: moment)
            // Foundation truncates a binary fraction: a quarter of a millisecond keeps it on the right side.
            let date = Date(timeIntervalSince1970: (Double(moment) + 0.25) / 1000)
            #expect(stamp.description == date.formatted(Self.format))
            #expect(Timestamp(stamp.description) == stamp)
        }
    }

    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int64 {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = TimeZone(secondsFromGMT: 0)!
        return Int64(calendar.date(from: DateComponents(year: year, month: month, day: day))!.timeIntervalSince1970 / 86_400)
    }

    @Test func everyMomentThatIsWrittenIsReadAgain() throws {
        var random = SeededRandom(seed: 5)
        for _ in 0..<3000 {
            let moment = Timestamp(
                milliseconds: .random(in: Timestamp.earliest.milliseconds...Timestamp.latest.milliseconds, using: &random))
            #expect(Timestamp(moment.description) == moment, "\(moment)")
        }
        for moment in [Timestamp.earliest, .latest] { #expect(Timestamp(moment.description) == moment) }
        // What a duration of absurd length makes is still a moment that can be written, and read again at the next start.
        for span in [TimeSpan(milliseconds: .max), .days(100_000_000)] {
            let far = Timestamp(milliseconds: 1_800_000_000_000) + span
            #expect(far == .latest)
            #expect(try JSON.decode(Timestamp.self, from: JSON.encode(far)) == far)
        }
        #expect(Timestamp(milliseconds: .max).description == Timestamp.latest.description)
        #expect(Timestamp(milliseconds: .min).description == Timestamp.earliest.description)
    }

    @Test(
        arguments: [
            ("2026-11-23T18:14:05.123Z", 1_795_457_645_123), ("2026-11-23T18:14:05Z", 1_795_457_645_000),
            ("2026-11-23T20:14:05.5+02:00", 1_795_457_645_500), ("1970-01-01T00:00:00Z", 0), ("1969-12-31T23:59:59.999Z", -1),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000), ("2026-11-23T18:14:05.123456789Z", 1_795_457_645_123),
            ("2026-11-23T18:14:05-00:30", 1_795_459_445_000),
        ] as [(String, Int64)])
    func readsRFC3339(_ text: String, _ milliseconds: Int64) {
        #expect(Timestamp(text)?.milliseconds == milliseconds)
    }

    @Test(arguments: [
        "", "now", "2026-11-23", "2026-11-23T18:14:05", "2026-13-01T00:00:00Z", "2023-02-29T00:00:00Z", "2026-11-23T24:00:01Z",
        "2026-11-23T18:61:05Z", "+10000-01-01T00:00:00Z", "2026-11-23T18:14:05.Z", "2026-11-23T18:14:05Zjunk",
        " 2026-11-23T18:14:05Z",
    ])
    func refusesGarbage(_ text: String) { #expect(Timestamp(text) == nil) }
}

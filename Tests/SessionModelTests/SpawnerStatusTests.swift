import SessionModel
import Testing

@Suite struct SpawnerStatusTests {
    @Test func aTaskIsCountedOnceHoweverOftenItIsAskedFor() {
        var status = SpawnerStatus()
        for number in 1...40 {
            for _ in 0..<2 { status.count("task-\(number)") }
            // Another one may be counted before it is asked for again.
            if number > 1 { status.count("task-\(number - 1)") }
        }
        #expect(status.tasks == 40)
        #expect(status.recentTasks?.count == SpawnerStatus.recentLimit && status.recentTasks?.last == "task-40")
    }
}

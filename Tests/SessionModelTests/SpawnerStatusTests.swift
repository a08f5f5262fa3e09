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

    @Test(arguments: [
        ("acme/widgets", true), ("github.example/acme/*", true), ("acme", false), ("/", false), ("acme/", false),
        ("acme//widgets", false), ("acme/wid gets", false),
    ])
    func aRepositoryHasAnOwnerAndAName(repository: String, isOne: Bool) {
        let spec = SpawnerSpec(
            when: SpawnerTrigger(githubWebhook: GitHubWebhook(repository: repository, events: ["issues"])))
        #expect((spec.mistake == nil) == isOne)
    }
}

import FoundationEssentials
import Glibc
import SessionModel

/// How long a Task takes from its acceptance by the supervisor to the agent that already knows the pull request.
struct FollowUpBenchmark {
    let settings: Settings

    func run(_ table: inout Table) throws {
        guard let supervisor = settings.supervisor else { return }
        let directory = try settings.fresh("supervisor")
        defer { settings.remove(directory) }
        let stamps = directory + "/stamps"
        let port = try freePort()
        let data = directory + "/data"
        let server = try Server(
            [
                supervisor, "serve", "--listen", "127.0.0.1:\(port)", "--data-dir", data, "--sidecar", settings.sidecar,
                "--default-agent", try settings.peer(in: directory, stamps: stamps), "--stop-sessions-on-exit", "--log-level",
                "warning",
            ], at: .tcp(port: port, token: ""), log: settings.directory + "/log")
        defer { server.stop() }
        let token = String(decoding: try Data(contentsOf: URL(filePath: data + "/token")), as: UTF8.self).prefix { $0 != "\n" }
        let endpoint = Endpoint.tcp(port: port, token: String(token))

        let repository = try makeRepository(in: directory, pullRequests: 10)
        // Sessions of their own: a sidecar, a host and an agent are started for each.
        let cold = Samples(try (1...10).map { try delivery(pullRequest: $0, of: repository, endpoint, stamps) })
        let warm = Samples(try (0..<200).map { _ in try delivery(pullRequest: 1, of: repository, endpoint, stamps) })
        let p50 = warm.percentile(0.5)
        table.add(
            "warm follow-up, Task accepted → prompt at the agent",
            "p50 \(short(p50)) ms, p99 \(short(warm.percentile(0.99))) ms",
            "cold session, p50 \(short(cold.percentile(0.5))) ms", short(p50 / cold.percentile(0.5)), aim: "p50 < 10 ms",
            met: p50 < 10)
        // A follow-up works on what the remote has now, so that it can never be faster than that.
        let fetch = try fetches(of: repository, in: directory + "/clone", times: 50).percentile(0.5)
        table.add("", "", "`git fetch` alone, p50 \(short(fetch)) ms", short(p50 / fetch))
    }

    private func fetches(of repository: String, in clone: String, times: Int) throws -> Samples {
        try runToEnd(["git", "clone", "-q", repository, clone])
        return Samples(
            try (0..<times).map { _ in
                let start = monotonic()
                try runToEnd(["git", "-C", clone, "fetch", "-q", "origin", "+refs/pull/1/head:refs/remotes/origin/pr/1"])
                return monotonic() - start
            })
    }

    /// A repository with one commit, which is the head of so many pull requests. Every follow-up fetches from it first.
    private func makeRepository(in directory: String, pullRequests: Int) throws -> String {
        let path = directory + "/widgets.git"
        let heads = (1...pullRequests).map { "git update-ref refs/pull/\($0)/head HEAD" }.joined(separator: " && ")
        try runToEnd([
            "sh", "-c",
            """
            git init -q --bare "$1" && cd "$1" && tree=$(git mktree </dev/null) && \
            commit=$(git -c user.name=bench -c user.email=bench@localhost commit-tree -m first "$tree") && \
            git update-ref HEAD "$commit" && \(heads)
            """, "sh", path,
        ])
        return path
    }

    /// Sends a Task, and waits until it has succeeded.
    /// - Returns: nanoseconds from its acceptance to the arrival of its prompt at the agent.
    private func delivery(
        pullRequest number: Int, of repository: String, _ endpoint: Endpoint, _ stamps: String
    ) throws -> UInt64 {
        let before = fileSize(stamps)
        let task = """
            {"prompt":"Answer.","scope":{"kind":"PullRequest","repository":"\(repository)","number":\(number)}}
            """
        guard let answer = try endpoint.call("POST", "/v1/tasks", body: task) else { throw Failure("the supervisor went away") }
        let accepted = wallClock()
        guard answer.status == 201 else {
            throw Failure("the supervisor answered \(answer.status): \(String(decoding: answer.body, as: UTF8.self))")
        }
        var resource = try JSON.decode(TaskResource.self, from: Data(answer.body))
        while !resource.status.phase.isTerminal {
            let path = "/v1/tasks/\(resource.metadata.name)?after=\(resource.metadata.resourceVersion)&wait=30s"
            guard let news = try endpoint.call("GET", path) else { throw Failure("the supervisor went away") }
            resource = try JSON.decode(TaskResource.self, from: Data(news.body))
            guard wallClock() - accepted < 60_000_000_000 else { throw Failure("a Task has not ended after a minute") }
        }
        guard resource.status.phase == .succeeded else {
            throw Failure("a Task ended as \(resource.status.phase.rawValue): \(resource.status.message ?? "")")
        }
        let text = String(decoding: try Data(contentsOf: URL(filePath: stamps)).dropFirst(before), as: UTF8.self)
        guard let arrived = UInt64(text.prefix { $0 != "\n" }) else { throw Failure("the agent has got no prompt") }
        // The prompt may be there before the answer to the POST is.
        return arrived > accepted ? arrived - accepted : 0
    }
}

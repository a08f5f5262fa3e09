import Foundation
import SessionModel
import Support
import Testing

extension EndToEndTests {
    /// An image made for Kelos, unchanged, through the whole of Holdfast: a script that does what those images' entry points do.
    @Suite struct KelosImageTests {
        private static let entrypoint = #"""
            #!/bin/bash
            set -uo pipefail
            PROMPT="${1:?Prompt argument is required}"
            agent() {
              echo "asked: $PROMPT"
              echo "as: $KELOS_AGENT_TYPE on $KELOS_BASE_BRANCH"
              git checkout --quiet -b kelos/fix
              echo fixed > fix.txt
              git add -A
              git -c user.name=A -c user.email=a@b.c commit --quiet -m fix
              git push --quiet origin HEAD:kelos/fix
              echo "gh: ${GH_TOKEN-none}, git: ${GITHUB_TOKEN-none}"
              printf 'protocol=https\nhost=github.com\n\n' | GIT_TERMINAL_PROMPT=0 git credential fill 2>/dev/null | grep password
            }
            agent | cat
            AGENT_EXIT_CODE=${PIPESTATUS[0]}
            printf '%s\n' ---KELOS_OUTPUTS_START--- "branch: kelos/fix" "pr: https://github.com/acme/widgets/pull/9" \
              "commit: $(git rev-parse HEAD)" "input-tokens: 70" ---KELOS_OUTPUTS_END---
            exit 0
            """#
        private let secret = "ghs_of-the-end-to-end-test"

        @Test(.timeLimit(.minutes(2))) func itWorksInCommitScopeWithTheTokenItIsGiven() async throws {
            try await SupervisorHome.run { home in
                let git = try GitFixture()
                let program = home.path + "/kelos_entrypoint.sh"
                try Self.entrypoint.write(toFile: program, atomically: true, encoding: .utf8)
                try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: program)
                try secret.write(toFile: home.path + "/token", atomically: true, encoding: .utf8)
                try await home.start()

                func run(_ credentials: AgentCredentials?) async throws -> (task: TaskResource, session: SessionResource) {
                    let worker = AgentDescription(
                        driver: .command, command: [program], invocation: Invocation(kelos: "custom"), credentials: credentials)
                    let spec = TaskSpec(
                        prompt: "fix it", worker: worker, workspace: WorkspaceSpec(repository: git.remote, ref: "main"))
                    let task = try await home.create(spec, key: "\(credentials == nil)")
                    let end = try await home.end(of: task.metadata.name)
                    let name = try #require(end.status.session).name
                    return (end, try await home.session(name) { $0.status.phase == .ended })
                }

                let (task, session) = try await run(AgentCredentials(token: home.path + "/token", expose: .token))
                #expect(task.status.phase == .succeeded, "\(task.status)")
                #expect(
                    task.status.results?.answer
                        == "asked: fix it\nas: custom on main\ngh: ***, git: ***\npassword=***")
                #expect(task.status.results?.pr == "https://github.com/acme/widgets/pull/9")
                #expect(task.status.results?.usage?.inputTokens == 70)
                let pushed = try git.git("rev-parse", "kelos/fix", in: git.remote)
                #expect(task.status.results?.outputs?["branch"] == "kelos/fix")
                #expect(task.status.results?.outputs?["commit"] == pushed)
                let condition = try #require(session.status.conditions.first { $0.type == "TokenExposed" })
                #expect(condition.status == .true && condition.message.contains("expose: Token"))

                // The value itself is nowhere below the data directory: not in the transcript, the store, the logs.
                let files = FileManager.default.enumerator(atPath: home.data)?.allObjects as? [String] ?? []
                #expect(files.count > 5)
                for file in files {
                    guard let bytes = FileManager.default.contents(atPath: "\(home.data)/\(file)") else { continue }
                    #expect(bytes.firstRange(of: Data(secret.utf8)) == nil, "\(file)")
                }

                // Without it nothing is passed on, not even what the supervisor's own environment has.
                try git.git("update-ref", "-d", "refs/heads/kelos/fix", in: git.remote)
                let (other, closed) = try await run(nil)
                #expect(other.status.results?.answer == "asked: fix it\nas: custom on main\ngh: none, git: none")
                #expect(!closed.status.conditions.contains { $0.type == "TokenExposed" })
            }
        }
    }
}

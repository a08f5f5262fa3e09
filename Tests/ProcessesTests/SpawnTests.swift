import Foundation
import Glibc
import Processes
import Testing

@Suite(.timeLimit(.minutes(1))) struct SpawnTests {
    private let path = ["PATH": "/usr/bin:/bin"]

    /// Runs a script and returns what it prints on descriptor 1, and how it ended.
    private func run(_ arguments: [String], environment: [String: String]? = nil, _ change: (inout Spawn) -> Void = { _ in })
        throws
        -> (String, ProcessEnd?)
    {
        let pipe = Pipe()
        var spawn = Spawn(arguments, environment: environment ?? path)
        spawn.descriptors = [nil, pipe.fileHandleForWriting.fileDescriptor, nil]
        change(&spawn)
        let pid = try spawn.start()
        try pipe.fileHandleForWriting.close()
        let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
        return (String(decoding: output, as: UTF8.self), Child.wait(pid))
    }

    @Test func argumentsEnvironmentDirectoryExit() throws {
        let (output, end) = try run(
            ["sh", "-c", "echo \"$0 $A\"; pwd; exit 9", "x y"], environment: path.merging(["A": "ä=b"]) { $1 }
        ) {
            $0.directory = "/usr"
        }
        #expect(output == "x y ä=b\n/usr\n")
        #expect(end == .code(9))
        #expect(try run(["sh", "-c", "kill -9 $$"]).1 == .signal(9))
    }

    @Test func sessions() throws {
        let script = ["sh", "-c", "echo $$; cut -d' ' -f5,6 /proc/$$/stat"]
        func identity(_ grouping: Spawn.Grouping) throws -> [Int32] {
            try run(script) { $0.grouping = grouping }.0.split(whereSeparator: \.isWhitespace).compactMap { Int32($0) }
        }
        let inherited = try identity(.inherited)
        #expect(inherited[1...] == [getpgrp(), getsid(0)])
        let group = try identity(.group)
        #expect(group[1...] == [group[0], getsid(0)])
        let session = try identity(.session)
        #expect(session[1...] == [session[0], session[0]])
    }

    @Test func descriptorsAreExactlyTheGivenOnes() throws {
        // One that is not closed on exec, and would leak.
        let leak = open("/dev/zero", O_RDONLY)
        defer { close(leak) }
        #expect(try run(["sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"]).0 == "0 1 2 3 ")
        let three = try run(["sh", "-c", "readlink /proc/self/fd/3 /proc/self/fd/0"]) { $0.descriptors.append(leak) }
        #expect(three.0 == "/dev/zero\n/dev/null\n")
    }

    @Test func sourcesAmongTheTargetsAreNotOverwritten() throws {
        // The child's 0, 1 and 2 are this process's 2, a pipe and 0.
        let (output, _) = try run(["sh", "-c", "readlink /proc/$$/fd/0 /proc/$$/fd/2"]) {
            $0.descriptors = [2, $0.descriptors[1], 0]
        }
        let expected = [2, 0].map { try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)") }
        #expect(output.split(separator: "\n").map(String.init) == expected)
    }

    @Test func aRelativePATHIsSeenFromTheChildsDirectory() throws {
        #expect(try run(["true"], environment: ["PATH": "no:bin"]) { $0.directory = "/usr" }.1 == .code(0))
        #expect(try run(["./true"], environment: [:]) { $0.directory = "/usr/bin" }.1 == .code(0))
    }

    @Test(
        arguments: [
            (["nonesuch"], nil, SpawnError.Reason.program), (["/etc/hostname"], nil, .program), (["/"], nil, .program),
            (["true"], "/none", .directory), (["true"], "/etc/hostname", .directory), ([], nil, .invalid), ([""], nil, .invalid),
            (["true", "\0"], nil, .invalid), (["true", String(repeating: "x", count: 1 << 18)], nil, .invalid),
        ] as [([String], String?, SpawnError.Reason)])
    func errors(arguments: [String], directory: String?, reason: SpawnError.Reason) throws {
        do throws(SpawnError) {
            _ = try Spawn(arguments, environment: path, directory: directory).start()
            Issue.record("started")
        } catch {
            #expect(error.reason == reason)
            #expect(error.description.contains(arguments.first.flatMap { $0.isEmpty ? nil : $0 } ?? "No program"))
        }
    }

    @Test func waiting() throws {
        let pid = try Spawn(["sleep", "100"], environment: path).start()
        #expect(Child.poll(pid) == nil)
        #expect(Child.wait(pid, atMost: .milliseconds(1)) == nil)
        kill(pid, SIGTERM)
        #expect(Child.wait(pid) == .signal(SIGTERM))
        #expect(Child.wait(pid) == nil)
        #expect(Child.poll(pid) == nil)
    }
}

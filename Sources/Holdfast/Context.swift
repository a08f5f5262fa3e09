import Curl
import Dispatch
import FoundationEssentials
import Glibc

/// What a command needs of the world. The process's own by default; tests give another.
struct Context: Sendable {
    @TaskLocal static var current = Context.process

    var environment: [String: String]
    var directory: String
    var console: Console
    var readInput: @Sendable () -> [UInt8]
    /// Ends when the user presses Ctrl-C.
    var interrupt: @Sendable () async -> Void
    var client: CurlClient
    /// It runs as `kubectl holdfast`, and talks to a cluster unless told otherwise.
    var isPlugin = false
    let cluster = ClusterAccess()
    /// The pause before a lost server is tried again. It doubles up to 20 times itself.
    var retryDelay: Duration = .milliseconds(250)
    /// How long a server may be away before a command that follows gives up.
    var patience: Duration = .seconds(300)

    init(
        environment: [String: String], directory: String, console: Console, readInput: @escaping @Sendable () -> [UInt8] = { [] },
        interrupt: @escaping @Sendable () async -> Void, client: CurlClient = .shared
    ) {
        self.environment = environment
        self.directory = directory
        self.console = console
        self.readInput = readInput
        self.interrupt = interrupt
        self.client = client
    }

    private static var process: Context {
        let environment = ProcessInfo.processInfo.environment
        var context = Context(
            environment: environment, directory: FileManager.default.currentDirectoryPath,
            console: .process(environment: environment), readInput: readStandardInput, interrupt: nextInterrupt)
        context.isPlugin = CommandLine.arguments.first?.split(separator: "/").last == "kubectl-holdfast"
        return context
    }

    private static func readStandardInput() -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(STDIN_FILENO, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return bytes }
            bytes.append(contentsOf: chunk[..<count])
        }
    }

    /// Takes SIGINT over for as long as it is awaited.
    private static func nextInterrupt() async {
        let (interrupts, continuation) = AsyncStream.makeStream(of: Void.self)
        signal(SIGINT, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
        source.setEventHandler { continuation.yield() }
        source.resume()
        defer {
            source.cancel()
            signal(SIGINT, SIG_DFL)
        }
        for await _ in interrupts { return }
    }
}

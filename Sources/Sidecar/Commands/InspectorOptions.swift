import ArgumentParser
import FoundationEssentials
import Glibc
import SessionModel

/// What every inspector command takes.
struct InspectorOptions: ParsableArguments {
    @Option(help: "The sidecar's Unix socket. Default: $HOLDFAST_SOCKET, else /run/holdfast/sidecar.sock.")
    var socket: String?

    var client: InspectorClient {
        InspectorClient(socket: socket ?? environment("HOLDFAST_SOCKET") ?? "/run/holdfast/sidecar.sock")
    }
}

func environment(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
}

/// Standard output as a person's terminal, or not.
enum Terminal {
    static let isInteractive = isatty(STDOUT_FILENO) == 1
    static let color = isInteractive && environment("NO_COLOR") == nil && environment("TERM") != "dumb"

    static var width: Int {
        var size = winsize()
        guard isInteractive, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 20 else { return 100 }
        return Int(size.ws_col)
    }

    /// Writes all of it; ends the program quietly when the reader of a pipe has gone.
    static func write(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { exit(0) }
            bytes = bytes.dropFirst(count)
        }
    }
}

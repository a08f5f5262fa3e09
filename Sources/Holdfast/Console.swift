import Glibc
import NIOConcurrencyHelpers
import Rendering

/// Where a command writes, and what kind of place that is.
struct Console: Sendable {
    enum Stream: Sendable, Hashable { case output, error }

    private let sink: @Sendable (Stream, String) -> Void
    /// Whether a person looks at it: only then is there progress that is overwritten.
    let isTerminal: Bool
    let hasColor: Bool
    /// Columns; 0 without a terminal.
    let width: Int
    private let hasStatus = NIOLockedValueBox(false)

    init(
        isTerminal: Bool = false, hasColor: Bool = false, width: Int = 0, sink: @escaping @Sendable (Stream, String) -> Void
    ) {
        self.isTerminal = isTerminal
        self.hasColor = hasColor
        self.width = width
        self.sink = sink
    }

    /// The process's own streams.
    static func process(environment: [String: String]) -> Console {
        let isTerminal = isatty(STDOUT_FILENO) == 1 && isatty(STDERR_FILENO) == 1 && environment["TERM"] != "dumb"
        var size = winsize()
        let columns = isTerminal && ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 ? Int(size.ws_col) : 0
        return Console(
            isTerminal: isTerminal, hasColor: isTerminal && (environment["NO_COLOR"] ?? "").isEmpty,
            width: isTerminal ? (columns > 0 ? columns : 80) : 0
        ) { stream, text in
            var bytes = Array(text.utf8)[...]
            while !bytes.isEmpty {
                let count = bytes.withUnsafeBytes {
                    write(stream == .output ? STDOUT_FILENO : STDERR_FILENO, $0.baseAddress, $0.count)
                }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return }
                bytes = bytes.dropFirst(count)
            }
        }
    }

    var palette: Palette { Palette(isColored: hasColor) }

    func print(_ text: String) {
        guard !text.isEmpty else { return }
        clearStatus()
        sink(.output, text)
    }

    /// One line to stderr.
    func note(_ line: String) {
        clearStatus()
        sink(.error, line + "\n")
    }

    /// What goes on at the moment: a line that the next output overwrites. Only for terminals.
    func status(_ line: String) {
        guard isTerminal else { return }
        hasStatus.withLockedValue { $0 = true }
        sink(.error, "\r\u{1B}[2K" + palette(Table.cut(TerminalText.harmlessLine(line), to: width - 1), .dim))
    }

    func clearStatus() {
        let wasShown = hasStatus.withLockedValue { shown in
            defer { shown = false }
            return shown
        }
        if wasShown { sink(.error, "\r\u{1B}[2K") }
    }
}

import NIOConcurrencyHelpers
import SessionModel

/// Keeps the frames of a connection for a turn that wants them, in their order, until they are recorded.
///
/// It is bounded: frames beyond ``limit`` are counted, and long ones are cut.
final class FrameTap: Sendable {
    /// The longest text of one frame, in bytes.
    static let frameLimit = 64 << 10
    /// What a turn may keep, in bytes.
    static let limit = 8 << 20

    private struct State {
        var isOpen = false
        var frames: [AgentFrame] = []
        var kept = 0
        var dropped = 0
    }

    private let state = NIOLockedValueBox(State())

    /// Begins a turn.
    func begin(_ isOpen: Bool) { state.withLockedValue { $0 = State(isOpen: isOpen) } }

    func note(_ direction: AgentFrame.Direction, _ line: [UInt8]) {
        state.withLockedValue { state in
            guard state.isOpen else { return }
            guard state.kept < Self.limit else {
                state.dropped += 1
                return
            }
            var bytes = line[...]
            if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
            let text = String(decoding: bytes.prefix(Self.frameLimit), as: UTF8.self)
            state.kept += text.utf8.count
            state.frames.append(
                AgentFrame(direction: direction, text: text, bytes: bytes.count > Self.frameLimit ? bytes.count : nil))
        }
    }

    /// The frames since the last time.
    func take() -> [AgentFrame] {
        state.withLockedValue { state in
            defer { state.frames = [] }
            return state.frames
        }
    }

    /// Ends the turn: what is left, and how much was left out.
    func end() -> [AgentFrame] {
        state.withLockedValue { state in
            defer { state = State() }
            let note = AgentFrame(direction: .received, text: "", dropped: state.dropped)
            return state.frames + (state.dropped > 0 ? [note] : [])
        }
    }
}

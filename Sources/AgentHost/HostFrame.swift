import FoundationEssentials
import SessionModel

/// What the sidecar (S) and its agent host (H) say to each other over their Unix socket.
///
/// On the wire: `[u32 length][u8 type][u32 id][payload]`, big-endian; the length counts what follows it. The id is the process,
/// or the request; the sidecar chooses it, counting up from 1. Bytes of the three streams flow only against credit: each side may
/// send ``HostFrame/window`` bytes of a stream and then has to wait for more.
enum HostFrame: Sendable, Hashable {
    /// H, first: proves itself. The sidecar closes the connection if it is not convinced.
    case hello(Hello)
    /// S: the hello was accepted.
    case welcome
    /// S: start a process. H answers `started` or `startFailed`.
    case start(UInt32, ProcessSpec)
    case started(UInt32, pid: Int32)
    case startFailed(UInt32, String)
    /// S sends standard input, H sends output and errors; at most 64 KiB.
    case data(UInt32, Stream, [UInt8])
    /// The receiver of a stream's data has passed on so many bytes.
    case credit(UInt32, Stream, UInt32)
    /// No more data: S closes the input, H says that the process closed it, or that an output has ended.
    case end(UInt32, Stream)
    /// S: signal the process's group.
    case signal(UInt32, Int32)
    case exited(UInt32, ExitStatus)
    /// S: nobody reads this process's output any more, and nobody waits for it.
    case abandon(UInt32)
    /// S: end every process; SIGKILL after so many milliseconds. H answers `allEnded` when none is alive.
    case endAll(UInt32, grace: UInt32)
    case allEnded(UInt32)
    /// S asks, H answers with the processes that are alive.
    case list(UInt32)
    case processes(UInt32, [HostedProcessInfo])
    /// H: it was told to stop, and will after a grace time, or as soon as the sidecar closes the connection.
    case terminating
    /// S, last: the host has done its work, and ends with success.
    case release

    struct Hello: Sendable, Hashable, Codable {
        var version: Int
        var secret: String
        var pid: Int32
        /// Of the host: what its container has set.
        var environment: [String: String] = [:]
    }

    enum Stream: UInt8, Sendable, Hashable { case input, output, errors }

    /// Counts up when a host and a sidecar of different versions could misunderstand each other.
    static let version = 2
    /// Bytes of one stream that may be on their way.
    static let window = 256 * 1024
    /// The most bytes of one `data` frame.
    static let chunk = 64 * 1024
}

/// What was received is not this protocol.
struct HostFrameError: Error, Hashable, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

extension HostFrame {
    /// The byte on the wire, and the largest payload that it may have.
    enum Kind: UInt8 {
        case hello = 1
        case welcome, start, started, startFailed, input, output, errors, credit, end, signal, exited, abandon, endAll, allEnded,
            list, processes, terminating, release

        var mostBytes: Int {
            switch self {
            case .hello: 1 << 20
            case .start: 4 << 20  // Linux takes 2 MiB of arguments and environment; JSON may double it.
            case .processes: 1 << 20
            case .startFailed: 16 * 1024
            case .input, .output, .errors: HostFrame.chunk
            case .credit, .exited: 5
            case .started, .signal, .endAll: 4
            case .end: 1
            case .welcome, .abandon, .allEnded, .list, .terminating, .release: 0
            }
        }
    }

    /// Appends the frame's bytes.
    /// - Throws: ``HostFrameError`` for one that is too large to send.
    func encode(to bytes: inout [UInt8]) throws(HostFrameError) {
        switch self {
        case .hello(let hello): try Self.put(.hello, 0, Self.json(hello), &bytes)
        case .welcome: try Self.put(.welcome, 0, [], &bytes)
        case .start(let id, let spec): try Self.put(.start, id, Self.json(spec), &bytes)
        case .started(let id, let pid): try Self.put(.started, id, Self.number(UInt32(bitPattern: pid)), &bytes)
        case .startFailed(let id, let message): try Self.put(.startFailed, id, Array(message.utf8.prefix(16 * 1024)), &bytes)
        case .data(let id, let stream, let data):
            let kind: Kind =
                switch stream {
                case .input: .input
                case .output: .output
                case .errors: .errors
                }
            try Self.put(kind, id, data, &bytes)
        case .credit(let id, let stream, let count):
            try Self.put(.credit, id, [stream.rawValue] + Self.number(count), &bytes)
        case .end(let id, let stream): try Self.put(.end, id, [stream.rawValue], &bytes)
        case .signal(let id, let number): try Self.put(.signal, id, Self.number(UInt32(bitPattern: number)), &bytes)
        case .exited(let id, let status):
            let (kind, value): (UInt8, Int32) =
                switch status {
                case .code(let code): (0, code)
                case .signal(let number): (1, number)
                case .lost: (2, 0)
                }
            try Self.put(.exited, id, [kind] + Self.number(UInt32(bitPattern: value)), &bytes)
        case .abandon(let id): try Self.put(.abandon, id, [], &bytes)
        case .endAll(let id, let grace): try Self.put(.endAll, id, Self.number(grace), &bytes)
        case .allEnded(let id): try Self.put(.allEnded, id, [], &bytes)
        case .list(let id): try Self.put(.list, id, [], &bytes)
        case .processes(let id, let list): try Self.put(.processes, id, Self.json(list), &bytes)
        case .terminating: try Self.put(.terminating, 0, [], &bytes)
        case .release: try Self.put(.release, 0, [], &bytes)
        }
    }

    private static func put(_ kind: Kind, _ id: UInt32, _ payload: [UInt8], _ bytes: inout [UInt8]) throws(HostFrameError) {
        guard payload.count <= kind.mostBytes else {
            throw HostFrameError("a \(kind) frame of \(payload.count) bytes is more than the \(kind.mostBytes) that are allowed")
        }
        bytes += number(UInt32(payload.count + 5))
        bytes.append(kind.rawValue)
        bytes += number(id)
        bytes += payload
    }

    private static func number(_ value: UInt32) -> [UInt8] {
        [
            UInt8(truncatingIfNeeded: value >> 24), UInt8(truncatingIfNeeded: value >> 16), UInt8(truncatingIfNeeded: value >> 8),
            UInt8(truncatingIfNeeded: value),
        ]
    }

    private static func json(_ value: some Encodable) throws(HostFrameError) -> [UInt8] {
        do { return Array(try JSON.encode(value)) } catch { throw HostFrameError("cannot encode \(value): \(error)") }
    }
}

/// Cuts a stream of bytes into frames, and refuses anything that is not exactly one.
struct HostFrameDecoder {
    private var buffer: [UInt8] = []
    /// Where the next frame begins in `buffer`.
    private var position = 0
    /// The kinds of frame that are taken; before the hello only that.
    var accepted: @Sendable (HostFrame.Kind) -> Bool = { _ in true }

    mutating func append(_ bytes: some Collection<UInt8>) {
        if position > 0 {
            buffer.removeFirst(position)
            position = 0
        }
        buffer += bytes
    }

    /// The next whole frame, or nil until more bytes have come.
    /// - Throws: ``HostFrameError``. Nothing more can be made of the stream then.
    mutating func next() throws(HostFrameError) -> HostFrame? {
        guard buffer.count - position >= 9 else { return nil }
        let length = Int(number(at: position))
        guard let kind = HostFrame.Kind(rawValue: buffer[position + 4]), accepted(kind) else {
            throw HostFrameError("unexpected frame type \(buffer[position + 4])")
        }
        guard length >= 5, length - 5 <= kind.mostBytes else { throw HostFrameError("a \(kind) frame with length \(length)") }
        guard buffer.count - position >= 4 + length else { return nil }
        let id = number(at: position + 5)
        let payload = (position + 9)..<(position + 4 + length)
        position = payload.upperBound
        return try decode(kind, id, payload)
    }

    private func decode(_ kind: HostFrame.Kind, _ id: UInt32, _ payload: Range<Int>) throws(HostFrameError) -> HostFrame {
        switch kind {
        case .start, .startFailed, .processes, .hello, .input, .output, .errors: break
        default:
            guard payload.count == kind.mostBytes else { throw HostFrameError("a \(kind) frame of \(payload.count) bytes") }
        }
        switch kind {
        case .hello: return .hello(try json(payload))
        case .welcome: return .welcome
        case .start: return .start(id, try json(payload))
        case .started: return .started(id, pid: signed(at: payload.lowerBound))
        case .startFailed: return .startFailed(id, String(decoding: buffer[payload], as: UTF8.self))
        case .input: return .data(id, .input, Array(buffer[payload]))
        case .output: return .data(id, .output, Array(buffer[payload]))
        case .errors: return .data(id, .errors, Array(buffer[payload]))
        case .credit: return .credit(id, try stream(at: payload.lowerBound), number(at: payload.lowerBound + 1))
        case .end: return .end(id, try stream(at: payload.lowerBound))
        case .signal: return .signal(id, signed(at: payload.lowerBound))
        case .exited:
            let value = signed(at: payload.lowerBound + 1)
            switch buffer[payload.lowerBound] {
            case 0: return .exited(id, .code(value))
            case 1: return .exited(id, .signal(value))
            case 2: return .exited(id, .lost)
            default: throw HostFrameError("an unknown way to exit")
            }
        case .abandon: return .abandon(id)
        case .endAll: return .endAll(id, grace: number(at: payload.lowerBound))
        case .allEnded: return .allEnded(id)
        case .list: return .list(id)
        case .processes: return .processes(id, try json(payload))
        case .terminating: return .terminating
        case .release: return .release
        }
    }

    private func number(at index: Int) -> UInt32 {
        UInt32(buffer[index]) << 24 | UInt32(buffer[index + 1]) << 16 | UInt32(buffer[index + 2]) << 8 | UInt32(buffer[index + 3])
    }

    private func signed(at index: Int) -> Int32 { Int32(bitPattern: number(at: index)) }

    private func stream(at index: Int) throws(HostFrameError) -> HostFrame.Stream {
        guard let stream = HostFrame.Stream(rawValue: buffer[index]) else { throw HostFrameError("an unknown stream") }
        return stream
    }

    private func json<Value: Decodable>(_ payload: Range<Int>) throws(HostFrameError) -> Value {
        do { return try JSON.decode(from: Data(buffer[payload])) } catch { throw HostFrameError("a frame's JSON: \(error)") }
    }
}

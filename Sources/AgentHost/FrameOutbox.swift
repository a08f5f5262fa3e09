import Glibc

/// Frames on their way out of a non-blocking socket. How much can gather here is bounded by the streams' credit.
struct FrameOutbox {
    private var buffer: [UInt8] = []
    private var position = 0

    /// Bytes that the socket has not taken yet.
    var count: Int { buffer.count - position }

    mutating func append(_ frame: HostFrame) throws(HostFrameError) { try frame.encode(to: &buffer) }

    /// Gives the socket as much as it takes.
    /// - Returns: false if the connection is broken.
    mutating func flush(to socket: Int32) -> Bool {
        while count > 0 {
            let sent = buffer.withUnsafeBytes {
                send(socket, $0.baseAddress! + position, count, Int32(MSG_NOSIGNAL))
            }
            if sent > 0 {
                position += sent
            } else if errno == EAGAIN {
                break
            } else if errno != EINTR {
                return false
            }
        }
        if count == 0 {
            // A burst's buffer is not kept for ever.
            buffer.removeAll(keepingCapacity: buffer.capacity <= 2 * HostFrame.window)
            position = 0
        } else if position > HostFrame.window {
            buffer.removeFirst(position)
            position = 0
        }
        return true
    }
}

/// What a non-blocking read brought.
enum ReadResult {
    case bytes([UInt8])
    case nothing
    case end

    /// Reads at most `limit` bytes.
    static func read(_ descriptor: Int32, limit: Int) -> ReadResult {
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            var result: Int
            repeat { result = Glibc.read(descriptor, buffer.baseAddress, limit) } while result < 0 && errno == EINTR
            failure = result < 0 ? errno : 0
            count = max(0, result)
        }
        if failure == EAGAIN { return .nothing }
        return bytes.isEmpty ? .end : .bytes(bytes)
    }
}

/// A one-line text for an errno: `No such file or directory`.
func words(_ error: Int32) -> String { String(cString: strerror(error)) }

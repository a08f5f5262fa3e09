import CLinux
import Glibc
import NIOConcurrencyHelpers

/// The sidecar's end of the socket: anybody may send, one thread receives.
final class HostConnection: Sendable {
    private struct State {
        var outbox = FrameOutbox()
        var open = true
        /// Why this side wants to end it.
        var closeReason: String?
    }
    private let state = NIOLockedValueBox(State())
    private let socket: Int32
    /// Raised when there is something to send that the socket did not take at once.
    private let wake: Int32

    /// Takes over both descriptors.
    init(socket: Int32, wake: Int32) {
        self.socket = socket
        self.wake = wake
    }

    /// Sends a frame, or does nothing once the connection has ended.
    /// - Throws: ``HostFrameError`` for one that is too large.
    func send(_ frame: HostFrame) throws(HostFrameError) {
        let result: Result<Void, HostFrameError> = state.withLockedValue { state in
            guard state.open else { return .success(()) }
            do throws(HostFrameError) { try state.outbox.append(frame) } catch { return .failure(error) }
            // A broken connection is noticed by the thread that receives.
            if !state.outbox.flush(to: socket) || state.outbox.count > 0 { raise() }
            return .success(())
        }
        try result.get()
    }

    /// Ends the connection from this side.
    func close(_ reason: String) {
        state.withLockedValue { state in
            guard state.open else { return }
            state.closeReason = state.closeReason ?? reason
            shutdown(socket, Int32(SHUT_RDWR))
        }
    }

    /// Receives until the connection ends.
    /// - Parameters:
    ///   - decoder: may hold bytes that have come already.
    ///   - handle: gets every frame; what it throws ends the connection.
    /// - Returns: why it ended.
    func run(decoder: HostFrameDecoder, handle: (HostFrame) throws(HostFrameError) -> Void) -> String {
        var decoder = decoder
        var reason: String?
        do throws(HostFrameError) {
            while let frame = try decoder.next() { try handle(frame) }
            while reason == nil {
                let waiting = state.withLockedValue { $0.outbox.count > 0 }
                var requests = [
                    pollfd(fd: socket, events: Int16(POLLIN) | (waiting ? Int16(POLLOUT) : 0), revents: 0),
                    pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
                ]
                guard poll(&requests, 2, -1) > 0 else { continue }
                if requests[1].revents != 0 { lower() }
                if waiting { state.withLockedValue { _ = $0.outbox.flush(to: socket) } }
                guard requests[0].revents & ~Int16(POLLOUT) != 0 else { continue }
                switch ReadResult.read(socket, limit: HostFrame.chunk) {
                case .nothing: break
                case .end: reason = "the agent host closed the connection"
                case .bytes(let bytes):
                    decoder.append(bytes)
                    while let frame = try decoder.next() { try handle(frame) }
                }
            }
        } catch {
            reason = "the agent host broke the protocol: \(error)"
        }
        return state.withLockedValue { state in
            state.open = false
            state.outbox = FrameOutbox()
            Glibc.close(socket)
            Glibc.close(wake)
            return state.closeReason ?? reason ?? "the connection ended"
        }
    }

    private func raise() {
        var one: UInt64 = 1
        _ = write(wake, &one, 8)
    }

    private func lower() {
        var count: UInt64 = 0
        _ = read(wake, &count, 8)
    }
}

/// Runs `body` on a new thread.
public func detachThread(_ body: @escaping @Sendable () -> Void) {
    final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
    var thread = pthread_t()
    let context = Unmanaged.passRetained(Body(body))
    let error = pthread_create(
        &thread, nil,
        { context in
            Unmanaged<Body>.fromOpaque(context!).takeRetainedValue().run()
            return nil
        }, context.toOpaque())
    precondition(error == 0, "cannot start a thread: \(words(error))")
    pthread_detach(thread)
}

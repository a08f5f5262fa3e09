import HummingbirdCore
import Logging
import NIOConcurrencyHelpers
import NIOCore

/// Holds every accepted connection until it is closed, so that a server can be stopped at any moment.
///
/// NIO ends the process when the writer of an open connection is let go of unfinished. A connection that is accepted just when
/// the server stops has no handler that would finish it: here it stays held, and ``Connections/close()`` closes it.
struct HeldConnections<Base: ServerChildChannel>: ServerChildChannel {
    let base: Base
    let connections: Connections

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Base.Value> {
        base.setup(channel: channel, logger: logger).map { value in
            connections.hold(value, until: channel)
            return value
        }
    }

    func handle(value: Base.Value, logger: Logger) async {
        await base.handle(value: value, logger: logger)
    }
}

/// The open connections of one server.
final class Connections: Sendable {
    private struct State {
        var open: [ObjectIdentifier: any Channel] = [:]
        var isClosed = false
    }

    private let state = NIOLockedValueBox(State())

    func hold(_ value: some Sendable, until channel: any Channel) {
        let isClosed = state.withLockedValue { state in
            state.open[ObjectIdentifier(channel)] = channel
            return state.isClosed
        }
        channel.closeFuture.whenComplete { [self] _ in
            withExtendedLifetime(value) {}
            _ = state.withLockedValue { $0.open.removeValue(forKey: ObjectIdentifier(channel)) }
        }
        if isClosed { channel.close(promise: nil) }
    }

    /// Closes what is open, and from now on whatever is accepted still.
    func close() {
        let open = state.withLockedValue { state in
            state.isClosed = true
            return Array(state.open.values)
        }
        for channel in open { channel.close(promise: nil) }
    }
}

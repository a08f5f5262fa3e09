import NIOCore

/// Closes a connection whose client takes nothing of what is written to it for too long, so that no reader can hold memory for ever.
///
/// It covers every kind of answer: a stream that is followed and a page that is never read.
final class StallGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    private let limit: TimeAmount
    private var check: Scheduled<Void>?

    init(limit: TimeAmount) { self.limit = limit }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        cancel()
        if !context.channel.isWritable { watch(context.channel, left: Self.pending(context.channel)) }
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        cancel()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { cancel() }

    private func watch(_ channel: any Channel, left: Int) {
        check = channel.eventLoop.assumeIsolated().scheduleTask(in: limit) { [weak self] in
            let now = Self.pending(channel)
            if now >= left { channel.close(promise: nil) } else { self?.watch(channel, left: now) }
        }
    }

    private func cancel() {
        check?.cancel()
        check = nil
    }

    /// Bytes that the client has yet to take.
    private static func pending(_ channel: any Channel) -> Int {
        (try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }
}

import Dispatch
import Glibc

/// Signals as values, not as interruptions.
enum Signals {
    /// SIGTERM and SIGINT, as they come. From now on they no longer end the process.
    static func termination() -> AsyncStream<Int32> {
        let (stream, continuation) = AsyncStream.makeStream(of: Int32.self)
        for number in [SIGTERM, SIGINT] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler {
                // The source lives as long as its handler.
                _ = source
                continuation.yield(number)
            }
            source.activate()
        }
        return stream
    }
}

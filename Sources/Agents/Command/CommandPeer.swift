import SessionModel

/// The driver as one process's connection knows it.
struct CommandPeer: LinePeer {
    let driver: CommandDriver
    let generation: Int

    func received(_ frame: JSONValue) async -> Bool { await driver.received(frame, generation: generation) }
    func printed(_ bytes: [UInt8], to stream: AgentOutput.Stream) async {
        await driver.printed(bytes, to: stream, generation: generation)
    }
    func discarded(lineOf bytes: Int) async { await driver.discarded(lineOf: bytes, generation: generation) }
    func closed(_ closing: ConnectionClosing) async { await driver.closed(closing, generation: generation) }
}

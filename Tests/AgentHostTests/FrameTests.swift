import SessionModel
import Testing

@testable import AgentHost

@Suite struct FrameTests {
    private let frames: [HostFrame] = [
        .hello(.init(version: 1, secret: "abc", pid: 7, environment: ["A": "ü"])), .welcome,
        .start(1, ProcessSpec(arguments: ["a", "ü\n"], environment: ["A": "1", "B": ""], directory: "/x")),
        .started(1, pid: 4711), .startFailed(2, "no"), .data(1, .input, [0, 255]), .data(.max, .output, []),
        .data(1, .errors, [UInt8](repeating: 9, count: HostFrame.chunk)), .credit(1, .input, .max), .end(1, .output),
        .signal(1, 15),
        .exited(1, .code(-1)), .exited(1, .signal(9)), .exited(1, .lost), .abandon(3), .endAll(4, grace: 500), .allEnded(4),
        .list(5),
        .processes(5, [HostedProcessInfo(pid: 1, command: "x")]), .terminating, .release,
    ]

    private func bytes(_ frames: [HostFrame]) throws -> [UInt8] {
        var bytes: [UInt8] = []
        for frame in frames { try frame.encode(to: &bytes) }
        return bytes
    }

    @Test(arguments: [1, 2, 3, 7, 1000, 65536, 1 << 20]) func everyFrameComesBackHoweverItIsCut(size: Int) throws {
        let bytes = try bytes(frames)
        var decoder = HostFrameDecoder()
        var received: [HostFrame] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            decoder.append(bytes[start..<min(start + size, bytes.count)])
            while let frame = try decoder.next() { received.append(frame) }
        }
        #expect(received == frames)
    }

    @Test func theFormatIsWhatTheCommentSays() throws {
        #expect(try bytes([.credit(258, .errors, 5)]) == [0, 0, 0, 10, 9, 0, 0, 1, 2, 2, 0, 0, 0, 5])
    }

    @Test func tooLargeAFrameIsNotSent() {
        #expect(throws: HostFrameError.self) { try bytes([.data(1, .input, [UInt8](repeating: 0, count: HostFrame.chunk + 1))]) }
    }

    @Test(
        arguments: [
            [0, 0, 0, 5, 0, 0, 0, 0, 0], [0, 0, 0, 5, 99, 0, 0, 0, 0], [0, 0, 0, 4, 2, 0, 0, 0, 0], [0, 0, 0, 6, 2, 0, 0, 0, 0],
            [255, 255, 255, 255, 3, 0, 0, 0, 0], [0, 1, 0, 6, 7, 0, 0, 0, 0], [0, 0, 0, 6, 10, 0, 0, 0, 0, 3],
            [0, 0, 0, 6, 3, 0, 0, 0, 0, 33],
            [0, 0, 0, 5, 9, 0, 0, 0, 0], [0, 0, 0, 10, 12, 0, 0, 0, 0, 9, 0, 0, 0, 0],
        ] as [[UInt8]]) func whatIsNoFrameIsRefused(bytes: [UInt8])
    {
        var decoder = HostFrameDecoder()
        decoder.append(bytes)
        #expect(throws: HostFrameError.self) { try decoder.next() }
    }

    /// Neither noise nor damaged frames may crash the decoder, or make it hold more than a frame.
    @Test func noise() throws {
        let seed = UInt64.random(in: 0...(.max))
        var random = SplitMix(state: seed)
        let good = try bytes(frames.filter { if case .data(_, .errors, _) = $0 { false } else { true } })
        for round in 0..<20_000 {
            var bytes =
                round % 2 == 0
                ? good : (0..<Int.random(in: 0...200, using: &random)).map { _ in .random(in: 0...255, using: &random) }
            if round % 2 == 0 {
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
                }
            }
            var decoder = HostFrameDecoder()
            var position = 0
            do throws(HostFrameError) {
                while position < bytes.count {
                    let next = min(bytes.count, position + Int.random(in: 1...100, using: &random))
                    decoder.append(bytes[position..<next])
                    position = next
                    while let frame = try decoder.next() {
                        // What was accepted can be said again.
                        var bytes: [UInt8] = []
                        try frame.encode(to: &bytes)
                    }
                }
            } catch {
                // Refused, as it should be.
            }
        }
    }
}

/// A small generator with a seed, so that a failure can be repeated.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

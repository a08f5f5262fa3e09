/// What has arrived of one response and who waits for it. Pure: it says which waiter to wake and when to pause, and the callers
/// do so after they have let go of the lock.
struct TransferState {
    struct Head: Sendable {
        var status: Int
        var headers: [(name: String, value: String)]
    }
    enum Mode: Sendable {
        /// The caller is woken once, with everything, which is at most so many bytes.
        case collect(maxBody: Int)
        case stream
    }
    typealias Waiter<Value: Sendable> = @Sendable (Result<Value, CurlError>) -> Void

    /// How much waits for a slow reader before the server is made to wait.
    static let highWater = 256 << 10

    enum Wake {
        case head(Waiter<Head>, Result<Head, CurlError>)
        case chunk(Waiter<[UInt8]?>, Result<[UInt8]?, CurlError>)

        func callAsFunction() {
            switch self {
            case .head(let waiter, let result): waiter(result)
            case .chunk(let waiter, let result): waiter(result)
            }
        }
    }

    enum Verdict { case taken, pause, refuse }

    private let mode: Mode
    private let summary: String
    private var head: Head?
    private var headWaiter: Waiter<Head>?
    private var buffer: [UInt8] = []
    private var chunkWaiter: Waiter<[UInt8]?>?
    private var isPaused = false
    /// Set once: nothing arrives after it.
    private var end: Result<Void, CurlError>?

    /// - Parameter summary: what is being tried, for error messages.
    init(mode: Mode, summary: String) {
        self.mode = mode
        self.summary = summary
    }

    var hasEnded: Bool { end != nil }

    // MARK: From the connection

    mutating func receive(_ head: Head) -> Wake? {
        guard end == nil else { return nil }
        self.head = head
        guard case .stream = mode else { return nil }
        return takeHeadWaiter(.success(head))
    }

    mutating func receive(_ bytes: UnsafeRawBufferPointer) -> (Verdict, Wake?) {
        guard end == nil else { return (.refuse, nil) }
        switch mode {
        case .collect(let maxBody):
            guard buffer.count + bytes.count <= maxBody else {
                let error = CurlError(.tooLarge, "\(summary): the response has more than the \(maxBody) bytes that are accepted")
                return (.refuse, finish(.failure(error)))
            }
            buffer.append(contentsOf: bytes)
            return (.taken, nil)
        case .stream:
            if let waiter = chunkWaiter {
                chunkWaiter = nil
                return (.taken, .chunk(waiter, .success(Array(bytes))))
            }
            guard buffer.count < Self.highWater else {
                isPaused = true
                return (.pause, nil)
            }
            buffer.append(contentsOf: bytes)
            return (.taken, nil)
        }
    }

    /// The first end counts; a later one changes nothing.
    mutating func finish(_ result: Result<Void, CurlError>) -> Wake? {
        guard end == nil else { return nil }
        end = result
        if headWaiter != nil {
            return takeHeadWaiter(
                result.flatMap {
                    head.map(Result.success) ?? .failure(CurlError(.protocol, "\(summary): the response has no head"))
                })
        }
        if let waiter = chunkWaiter {
            chunkWaiter = nil
            return .chunk(waiter, result.map { nil })
        }
        return nil
    }

    private mutating func takeHeadWaiter(_ result: Result<Head, CurlError>) -> Wake? {
        defer { headWaiter = nil }
        return headWaiter.map { .head($0, result) }
    }

    // MARK: From the caller

    /// Nobody will read: what has arrived is thrown away. A response that has ended is there to be read, though: whoever was still
    /// sending when it came gives up only then.
    mutating func abort(_ error: CurlError) -> Wake? {
        guard end == nil else { return nil }
        buffer = []
        return finish(.failure(error))
    }

    mutating func waitForHead(_ waiter: @escaping Waiter<Head>) -> Wake? {
        if case .failure(let error) = end { return .head(waiter, .failure(error)) }
        let isReady = if case .stream = mode { true } else { end != nil }
        if isReady, let head { return .head(waiter, .success(head)) }
        headWaiter = waiter
        return nil
    }

    /// The whole body of a collected response that has ended well.
    mutating func takeBody() -> [UInt8] {
        defer { buffer = [] }
        return buffer
    }

    /// Whether the connection may go on, and the waiter to wake if there is something for it now.
    mutating func waitForChunk(_ waiter: @escaping Waiter<[UInt8]?>) -> (resume: Bool, Wake?) {
        if !buffer.isEmpty {
            let chunk = buffer
            buffer = []
            defer { isPaused = false }
            return (isPaused && end == nil, .chunk(waiter, .success(chunk)))
        }
        if let end { return (false, .chunk(waiter, end.map { nil })) }
        precondition(chunkWaiter == nil, "two tasks read one body at the same time")
        chunkWaiter = waiter
        return (false, nil)
    }
}

/// What waits to be sent of one request's streamed body. Pure, as ``TransferState``.
struct UploadState {
    typealias Waiter = CheckedContinuation<Result<Void, CurlError>, Never>

    /// How much waits for a slow server before the writer has to wait.
    static let highWater = 256 << 10

    struct Wake {
        var waiter: Waiter
        var result: Result<Void, CurlError>
        func callAsFunction() { waiter.resume(returning: result) }
    }

    enum Portion { case bytes(Int), pause, end }

    private let length: Int64?
    private let summary: String
    private var buffer: [UInt8] = []
    /// How much of the buffer is sent.
    private var sent = 0
    private var written: Int64 = 0
    private var waiter: Waiter?
    /// The connection asked for bytes when there were none.
    private var isStarved = false
    private var isComplete = false
    /// Set once: nobody sends any more.
    private var end: CurlError?

    init(length: Int64?, summary: String) {
        self.length = length
        self.summary = summary
    }

    private var waiting: Int { buffer.count - sent }

    // MARK: From the writer

    /// - Returns: whether the connection waits for bytes, and the waiter to wake at once.
    mutating func write(_ bytes: [UInt8], _ waiter: Waiter) -> (resume: Bool, Wake?) {
        precondition(self.waiter == nil, "two tasks write one body at the same time")
        if let end { return (false, Wake(waiter: waiter, result: .failure(end))) }
        written += Int64(bytes.count)
        if let length, written > length {
            let error = CurlError(.upload, "\(summary): the body has more than the \(length) bytes that were announced")
            return (false, Wake(waiter: waiter, result: .failure(error)))
        }
        if sent > 0, sent == buffer.count {
            buffer.removeAll(keepingCapacity: true)
            sent = 0
        }
        buffer += bytes
        defer { isStarved = false }
        let resume = isStarved && waiting > 0
        guard waiting >= Self.highWater else { return (resume, Wake(waiter: waiter, result: .success(()))) }
        self.waiter = waiter
        return (resume, nil)
    }

    /// Everything has been written.
    /// - Returns: whether the connection waits to hear it; the error when it cannot be true.
    mutating func complete() -> Result<Bool, CurlError> {
        if let length, written < length {
            return .failure(
                CurlError(.upload, "\(summary): the body ended after \(written) of the \(length) bytes that were announced"))
        }
        isComplete = true
        defer { isStarved = false }
        return .success(isStarved)
    }

    // MARK: From the connection

    mutating func read(into space: UnsafeMutableRawBufferPointer) -> (Portion, Wake?) {
        let count = min(waiting, space.count)
        guard count > 0 else {
            if isComplete { return (.end, nil) }
            isStarved = true
            return (.pause, nil)
        }
        buffer.withUnsafeBytes { space.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[sent..<sent + count])) }
        sent += count
        guard waiting < Self.highWater, let waiter else { return (.bytes(count), nil) }
        self.waiter = nil
        return (.bytes(count), Wake(waiter: waiter, result: .success(())))
    }

    /// Nobody will send any more.
    mutating func finish(_ error: CurlError) -> Wake? {
        guard end == nil else { return nil }
        end = error
        buffer = []
        sent = 0
        defer { waiter = nil }
        return waiter.map { Wake(waiter: $0, result: .failure(error)) }
    }
}

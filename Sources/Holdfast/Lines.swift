/// Bytes that arrive in chunks, cut into lines. What follows the last line break is no line: it was cut off.
struct Lines<Source: AsyncSequence & Sendable>: AsyncSequence where Source.Element == [UInt8] {
    typealias Element = String
    private let source: Source
    init(_ source: Source) { self.source = source }

    func makeAsyncIterator() -> Iterator { Iterator(source: source.makeAsyncIterator()) }

    struct Iterator: AsyncIteratorProtocol {
        fileprivate var source: Source.AsyncIterator
        private var buffer: [UInt8] = []
        private var position = 0

        fileprivate init(source: Source.AsyncIterator) { self.source = source }

        mutating func next() async throws -> String? {
            var searched = position
            while true {
                if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                    defer { position = end + 1 }
                    return String(decoding: buffer[position..<end], as: UTF8.self)
                }
                buffer.removeFirst(position)
                position = 0
                searched = buffer.count
                guard let chunk = try await source.next() else { return nil }
                buffer += chunk
            }
        }
    }
}

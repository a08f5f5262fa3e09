import Curl
import FoundationEssentials
import SessionModel

/// One change that a watch tells.
public enum WatchEvent<Object: KubernetesObject>: Sendable {
    case added(Object)
    case modified(Object)
    /// With its last state.
    case deleted(Object)
    /// Nothing but how far the watch has come.
    /// - Parameter endsInitialEvents: all objects that there were at the beginning have been told.
    case bookmark(resourceVersion: String, endsInitialEvents: Bool)
    /// The watch is over: 410 when it began too far back.
    case error(KubernetesError)
    /// An object was added or changed to something that this program cannot read.
    case broken(BrokenObject)
}

/// The changes of the objects of one type, as they happen. It can be iterated once; letting go of it ends the request.
public struct Watch<Object: KubernetesObject>: AsyncSequence, Sendable {
    public typealias Element = WatchEvent<Object>
    public typealias Failure = KubernetesError

    let stream: ServerStream

    public func makeAsyncIterator() -> Iterator { Iterator(stream: stream, chunks: stream.body.makeAsyncIterator()) }

    public struct Iterator: AsyncIteratorProtocol {
        public typealias Failure = KubernetesError
        let stream: ServerStream
        var chunks: CurlBody.Iterator
        var lines = LineBuffer(limit: 16 << 20)

        /// Nil when the server has ended it in order.
        public mutating func next() async throws(KubernetesError) -> WatchEvent<Object>? {
            while true {
                if let line = lines.next() {
                    if line.isEmpty { continue }
                    return try decode(line)
                }
                guard !lines.isOverflowing else {
                    throw KubernetesError(stream.summary, notKubernetes: "one event has more than \(lines.limit) bytes")
                }
                let chunk: [UInt8]?
                do throws(CurlError) { chunk = try await chunks.next() } catch {
                    stream.client.forget(stream.curl, after: error)
                    throw KubernetesError(stream.summary, error)
                }
                guard let chunk else { return nil }
                lines.append(chunk)
            }
        }

        private func decode(_ line: [UInt8]) throws(KubernetesError) -> WatchEvent<Object> {
            do { return try JSON.decode(Envelope<Object>.self, from: Data(line)).event(of: stream.summary) } catch {
                throw KubernetesError(stream.summary, notKubernetes: (error as? DecodingError)?.clause ?? "\(error)")
            }
        }
    }
}

/// `{"type": "ADDED", "object": {…}}`
struct Envelope<Object: KubernetesObject>: Decodable {
    private enum CodingKeys: String, CodingKey { case type, object }
    private enum Content {
        case object(String, Lenient<Object>)
        case bookmark(ObjectMeta)
        case status(StatusObject)
    }
    private struct Bookmark: Decodable { var metadata: ObjectMeta }

    private let content: Content

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let type = try container.decode(String.self, forKey: .type)
        switch type {
        case "ADDED", "MODIFIED", "DELETED":
            content = .object(type, try container.decode(Lenient<Object>.self, forKey: .object))
        case "BOOKMARK": content = .bookmark(try container.decode(Bookmark.self, forKey: .object).metadata)
        case "ERROR": content = .status(try container.decode(StatusObject.self, forKey: .object))
        default:
            throw DecodingError.dataCorruptedError(forKey: .type, in: container, debugDescription: "there is no event “\(type)”")
        }
    }

    func event(of summary: String) -> WatchEvent<Object> {
        switch content {
        case .object(let type, .object(let object)):
            type == "ADDED" ? .added(object) : type == "MODIFIED" ? .modified(object) : .deleted(object)
        case .object(_, .broken(let object)): .broken(object)
        case .bookmark(let metadata):
            .bookmark(
                resourceVersion: metadata.resourceVersion ?? "",
                endsInitialEvents: metadata.annotations?["k8s.io/initial-events-end"] == "true")
        case .status(let status): .error(KubernetesError(summary, status, httpStatus: 500))
        }
    }
}

/// Bytes in, lines out.
struct LineBuffer {
    /// The longest line.
    let limit: Int
    private var bytes: [UInt8] = []
    private var start = 0
    /// Up to here there is no line end.
    private var searched = 0

    init(limit: Int) { self.limit = limit }

    /// There are more bytes than a line may have, and no end of it.
    var isOverflowing: Bool { bytes.count - start > limit }

    mutating func append(_ chunk: [UInt8]) {
        if start > 0 {
            bytes.removeFirst(start)
            searched -= start
            start = 0
        }
        bytes += chunk
    }

    /// The next whole line, without its end.
    mutating func next() -> [UInt8]? {
        guard let end = bytes[searched...].firstIndex(of: UInt8(ascii: "\n")) else {
            searched = bytes.count
            return nil
        }
        defer {
            start = end + 1
            searched = start
        }
        return Array(bytes[start..<end])
    }
}

import Foundation
import SessionModel

/// A recorded request to a real API server and what that answered.
struct Exchange: Decodable, Sendable {
    struct Request: Decodable {
        var method: String
        var path: String
        var headers: [String: String]
        var body: JSONValue?
    }
    struct Response: Decodable {
        struct Event: Decodable { var event: JSONValue }
        var status: Int
        var headers: [String: String]
        var body: JSONValue?
        var stream: [Event]?
    }
    var name: String
    var request: Request
    var response: Response

    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures")
    static let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? [])
        .filter { $0.hasSuffix(".json") }.map { String($0.dropLast(5)) }.sorted()

    static func named(_ name: String) throws -> Exchange {
        try JSON.decode(Exchange.self, from: Data(contentsOf: folder.appending(path: name + ".json")))
    }
}

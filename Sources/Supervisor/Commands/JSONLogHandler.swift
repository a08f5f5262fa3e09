import Foundation
import Logging
import SessionModel

/// One JSON object a line, to standard error.
struct JSONLogHandler: LogHandler {
    let label: String
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info

    init(label: String) { self.label = label }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var line: [String: String] = [:]
        for (key, value) in metadata.merging(event.metadata ?? [:], uniquingKeysWith: { $1 }) { line[key] = "\(value)" }
        line["time"] = Timestamp.now.description
        line["level"] = event.level.rawValue
        line["logger"] = label
        line["message"] = event.message.description
        guard let bytes = try? JSON.encode(line) else { return }
        FileHandle.standardError.write(bytes + [10])
    }
}

import ArgumentParser
import Logging

/// How a server logs to standard error.
struct LogOptions: ParsableArguments {
    enum Format: String, ExpressibleByArgument, CaseIterable { case text, json }

    @Option(help: "How to log to standard error: text or json.") var logFormat = Format.text
    @Option(help: "trace, debug, info, notice, warning, error or critical.") var logLevel = "info"

    /// Sets up logging for the whole process: once.
    func logger(_ label: String) throws -> Logger {
        guard let level = Logger.Level(rawValue: logLevel) else {
            throw ValidationError("--log-level \(logLevel) is not a level")
        }
        let format = logFormat
        LoggingSystem.bootstrap { label in
            switch format {
            case .text: StreamLogHandler.standardError(label: label)
            case .json: JSONLogHandler(label: label)
            }
        }
        var logger = Logger(label: label)
        logger.logLevel = level
        return logger
    }
}

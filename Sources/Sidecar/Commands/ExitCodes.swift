import ArgumentParser
import Glibc
import Journal
import SessionModel

/// How the program's failures show in its exit code. docs/operations.md lists them.
enum Exit {
    static let usage: Int32 = 64
    static let unavailable: Int32 = 69
    static let software: Int32 = 70
    static let storage: Int32 = 74
    static let locked: Int32 = 75
    static let staleEpoch: Int32 = 76

    static func code(of error: any Error) -> Int32 {
        switch error {
        case let error as JournalError:
            switch error.code {
            case .locked: locked
            case .staleEpoch: staleEpoch
            case .unusable, .full, .broken, .format: storage
            }
        case let problem as Problem:
            switch problem.kind {
            case .notReady, .draining: unavailable
            case .invalidRequest: usage
            default: 1
            }
        case is InvalidSessionKey: usage
        default: software
        }
    }

    /// One sentence on standard error, then the end.
    static func fail(_ error: any Error) -> Never {
        let text = "holdfast-sidecar: \(error)\n"
        text.withCString { _ = write(STDERR_FILENO, $0, strlen($0)) }
        exit(code(of: error))
    }
}

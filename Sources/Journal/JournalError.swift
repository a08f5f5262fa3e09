/// Why a journal could not be opened or written.
public struct JournalError: Error, Sendable, Hashable {
    public enum Code: String, Sendable, Hashable {
        /// The directory or a file in it cannot be used.
        case unusable
        /// Another process holds the state directory.
        case locked
        /// A higher epoch has written here.
        case staleEpoch
        /// The disk is full, over quota or read-only. What was not durable stays pending and is tried again.
        case full
        /// A write could not be made durable: the process must end and recover from the disk.
        case broken
        /// The journal was written by a later version.
        case format
    }
    public var code: Code
    /// What was tried, what happened, and what to do.
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}

extension JournalError: CustomStringConvertible {
    public var description: String { message }
}

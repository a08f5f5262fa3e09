/// What Codex says of a thread that it is asked to take up again.
enum CodexThread {
    /// Whether the thread is gone for good, or so damaged that it cannot be read at all. Everything else may be over in a minute, and
    /// a conversation is not given up for it. The texts are those of Codex 0.163.
    static func isLost(_ message: String) -> Bool {
        if message.contains("no rollout found for thread id") || message.contains("invalid session id") { return true }
        guard message.contains("failed to read session metadata") else { return false }
        return message.contains("is empty") || message.contains("does not start with session metadata")
    }
}

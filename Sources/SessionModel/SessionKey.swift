import Crypto

/// What a session belongs to.
public enum ScopeKind: String, Sendable, Hashable, Codable, CaseIterable {
    /// One Task, alone: today's behaviour and the default.
    case commit = "Commit"
    case pullRequest = "PullRequest"
    case issue = "Issue"

    /// How the kind opens a key's text.
    var prefix: String {
        switch self {
        case .commit: "commit"
        case .pullRequest: "pr"
        case .issue: "issue"
        }
    }
}

/// The identity of a session: scope, repository, number, and a profile that keeps a reviewer and a fixer of one pull request apart.
///
/// ```swift
/// let key = try SessionKey(parsing: "pr:github.com/acme/widgets#12~reviewer")
/// key.description   // pr:github.com/acme/widgets#12~reviewer
/// key.name          // pr12-widge-… : a DNS label
/// ```
/// A commit-scoped key holds the uid of its one Task: `commit:6f9c…`.
public struct SessionKey: Sendable, Hashable {
    public enum Subject: Sendable, Hashable {
        case task(uid: String)
        /// `repository` is `host/owner/name`, or a path for a repository on this machine.
        case pullRequest(repository: String, number: Int)
        case issue(repository: String, number: Int)
    }

    /// Its repository always has a host or is a path.
    public let subject: Subject
    public let profile: String?

    /// `OWNER/NAME` without a host means github.com, which does not tell upper from lower case.
    /// - Throws: `InvalidSessionKey` when a part has a character that the text form gives a meaning to.
    public init(_ subject: Subject, profile: String? = nil) throws(InvalidSessionKey) {
        let subject = subject.withHost
        let text: String
        switch subject {
        case .task(let uid):
            guard !uid.isEmpty, uid.utf8.count <= 128, uid.utf8.allSatisfy(Self.isPlain) else {
                throw InvalidSessionKey(text: uid, why: "a Task's uid is 1 to 128 letters, digits, '.', '_' or '-'")
            }
            text = uid
        case .pullRequest(let repository, let number), .issue(let repository, let number):
            text = "\(repository)#\(number)"
            guard number > 0 else { throw InvalidSessionKey(text: text, why: "the number is 1 or more") }
            guard !repository.isEmpty, repository.utf8.count <= 512,
                repository.utf8.allSatisfy({
                    Self.isPlain($0) || $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: ":") || $0 >= 0x80
                })
            else {
                throw InvalidSessionKey(
                    text: text,
                    why: "a repository is host/owner/name or a path, of 1 to 512 letters, digits, '.', '_', '-', ':' or '/'")
            }
        }
        if let profile, profile.isEmpty || profile.utf8.count > 63 || !profile.utf8.allSatisfy(Self.isPlain) {
            throw InvalidSessionKey(text: text + "~" + profile, why: "a profile is 1 to 63 letters, digits, '.', '_' or '-'")
        }
        self.subject = subject
        self.profile = profile
    }

    public var kind: ScopeKind {
        switch subject {
        case .task: .commit
        case .pullRequest: .pullRequest
        case .issue: .issue
        }
    }

    public var repository: String? {
        switch subject {
        case .task: nil
        case .pullRequest(let repository, _), .issue(let repository, _): repository
        }
    }

    public var number: Int? {
        switch subject {
        case .task: nil
        case .pullRequest(_, let number), .issue(_, let number): number
        }
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

extension SessionKey.Subject {
    fileprivate var withHost: Self {
        func full(_ repository: String) -> String {
            let parts = repository.split(separator: "/", omittingEmptySubsequences: false)
            let full = parts.count == 2 && !parts[0].isEmpty ? "github.com/" + repository : repository
            return full.lowercased().hasPrefix("github.com/") ? full.lowercased() : full
        }
        return switch self {
        case .task: self
        case .pullRequest(let repository, let number): .pullRequest(repository: full(repository), number: number)
        case .issue(let repository, let number): .issue(repository: full(repository), number: number)
        }
    }
}

extension SessionKey: CustomStringConvertible {
    public var description: String {
        let text =
            switch subject {
            case .task(let uid): "commit:\(uid)"
            case .pullRequest(let repository, let number): "pr:\(repository)#\(number)"
            case .issue(let repository, let number): "issue:\(repository)#\(number)"
            }
        return profile.map { "\(text)~\($0)" } ?? text
    }

    /// Reads the text form.
    public init(parsing text: String) throws(InvalidSessionKey) {
        guard let colon = text.firstIndex(of: ":") else {
            throw InvalidSessionKey(text: text, why: "it has no scope")
        }
        var rest = text[text.index(after: colon)...]
        var profile: String?
        if let tilde = rest.lastIndex(of: "~") {
            profile = String(rest[rest.index(after: tilde)...])
            rest = rest[..<tilde]
        }
        let kind = ScopeKind.allCases.first { $0.prefix == text[..<colon] }
        switch kind {
        case .commit:
            try self.init(.task(uid: String(rest)), profile: profile)
        case .pullRequest, .issue:
            guard let hash = rest.lastIndex(of: "#"), let number = Int(rest[rest.index(after: hash)...]),
                String(number) == rest[rest.index(after: hash)...]
            else {
                throw InvalidSessionKey(text: text, why: "it has no number")
            }
            let repository = String(rest[..<hash])
            try self.init(
                kind == .pullRequest
                    ? .pullRequest(repository: repository, number: number) : .issue(repository: repository, number: number),
                profile: profile)
        case nil:
            throw InvalidSessionKey(text: text, why: "there is no scope “\(text[..<colon])”")
        }
    }

    /// A DNS label of at most 63 characters: a readable slug and the SHA-256 of the whole key in base 32, never truncated,
    /// so that two keys never share a name.
    public var name: String {
        let (number, label) =
            switch subject {
            case .task(let uid): ("", uid)
            case .pullRequest(let repository, let number), .issue(let repository, let number):
                (String(number), repository.split(separator: "/").last.map(String.init) ?? "")
            }
        let plain = label.lowercased().utf8.map { byte in
            Self.isPlain(byte) && byte != UInt8(ascii: ".") && byte != UInt8(ascii: "_") ? Character(UnicodeScalar(byte)) : "-"
        }
        // 63 characters, less 52 of the hash and the dash before it, leave ten.
        var slug = String(("\(kind.prefix)\(number)-" + String(plain)).prefix(10))
        while slug.hasSuffix("-") { slug.removeLast() }
        return "\(slug)-\(Base32.encode(SHA256.hash(data: Array(description.utf8))))"
    }
}

extension SessionKey: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        do {
            self = try SessionKey(parsing: try container.decode(String.self))
        } catch let error as InvalidSessionKey {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: error.description)
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// A text that names no session, and why.
public struct InvalidSessionKey: Error, CustomStringConvertible {
    public let text: String
    public let why: String
    public var description: String {
        "“\(text)” is not a session key: \(why); write pr:OWNER/REPO#N, issue:OWNER/REPO#N or commit:UID, with ~PROFILE at the end if needed"
    }
}

/// Base 32 of RFC 4648 in lower case and without padding: five bits a character, fit for DNS labels.
public enum Base32 {
    public static func encode(_ bytes: some Sequence<UInt8>) -> String {
        let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)
        var text: [UInt8] = []
        var buffer: UInt32 = 0
        var bits = 0
        for byte in bytes {
            buffer = buffer << 8 | UInt32(byte)
            bits += 8
            while bits >= 5 {
                bits -= 5
                text.append(alphabet[Int(buffer >> UInt32(bits)) & 31])
            }
        }
        if bits > 0 { text.append(alphabet[Int(buffer << UInt32(5 - bits)) & 31]) }
        return String(decoding: text, as: UTF8.self)
    }
}

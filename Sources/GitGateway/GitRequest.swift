import FoundationEssentials

/// What a request to the gateway is about: smart HTTP and nothing else.
struct GitRequest: Sendable, Hashable {
    enum Service: String, Sendable, Hashable {
        case uploadPack = "git-upload-pack"
        case receivePack = "git-receive-pack"
    }

    /// `host/owner/name`, as ``SessionModel/ScopeSpec/normalized(_:)`` has it.
    var repository: String
    var service: Service
    /// The refs are asked for, before anything is fetched or pushed.
    var isAdvertisement: Bool

    /// - Parameters:
    ///   - path: decoded.
    ///   - service: the query parameter of that name.
    /// - Returns: nil for what is not of git's smart HTTP.
    init?(method: String, path: String, service: String?) {
        let suffix: String
        switch (method, path.split(separator: "/").last) {
        case ("GET", "refs"):
            guard let service = service.flatMap(Service.init) else { return nil }
            self.service = service
            isAdvertisement = true
            suffix = "/info/refs"
        case ("POST", let last?):
            guard let service = Service(rawValue: String(last)) else { return nil }
            self.service = service
            isAdvertisement = false
            suffix = "/\(service.rawValue)"
        default: return nil
        }
        guard path.hasPrefix("/"), path.hasSuffix(suffix) else { return nil }
        let name = path.dropFirst().dropLast(suffix.count)
        repository = String(name.hasSuffix(".git") ? name.dropLast(4) : name)
    }
}

/// `Authorization: Basic …`
struct BasicCredential: Sendable, Hashable {
    var user: String
    var password: String

    init?(_ header: String?) {
        guard let header, header.lowercased().hasPrefix("basic "),
            let bytes = Data(base64Encoded: String(header.dropFirst(6))), let text = String(validating: bytes, as: UTF8.self),
            let colon = text.firstIndex(of: ":")
        else { return nil }
        user = String(text[..<colon])
        password = String(text[text.index(after: colon)...])
    }

    static func header(user: String, password: String) -> String {
        "Basic " + Data("\(user):\(password)".utf8).base64EncodedString()
    }
}

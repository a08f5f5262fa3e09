import CCurl

/// What a URL says to people and about its host.
enum Summary {
    /// `GET http://host/path`: a query may carry a secret as well as a user's name and password may, so it is cut off.
    static func of(_ request: CurlRequest) -> String {
        let url = parse(request.url) { parts -> String? in
            guard let scheme = text(parts, CURLUPART_SCHEME), let host = text(parts, CURLUPART_HOST) else { return nil }
            let port = text(parts, CURLUPART_PORT).map { ":\($0)" } ?? ""
            return "\(scheme)://\(host)\(port)\(text(parts, CURLUPART_PATH) ?? "")"
        }
        return "\(request.method) \(url ?? "(not a URL)")"
    }

    /// Whether it is a URL that this client can use.
    static func isHTTP(_ url: String) -> Bool {
        parse(url) { ["http", "https"].contains(text($0, CURLUPART_SCHEME)) } ?? false
    }

    /// Whether the URL's host is this machine: `localhost`, `127.0.0.0/8` or `::1`.
    static func isLoopback(_ url: String) -> Bool {
        let host = parse(url) { text($0, CURLUPART_HOST) }?.lowercased() ?? ""
        return host == "localhost" || host.hasSuffix(".localhost") || host == "[::1]"
            || (host.hasPrefix("127.") && host.utf8.allSatisfy { $0 == UInt8(ascii: ".") || (48...57).contains($0) })
    }

    /// `host:port`, the port only if the URL has one: what a `Host` header says.
    static func host(_ url: String) -> String? {
        parse(url) { parts in
            text(parts, CURLUPART_HOST).map { host in host + (text(parts, CURLUPART_PORT).map { ":\($0)" } ?? "") }
        }
    }

    /// The URL with another host, and the `host:port` that it had.
    static func replaceHost(of url: String, by name: String) -> (url: String, host: String)? {
        parse(url) { parts in
            guard let host = text(parts, CURLUPART_HOST), let port = text(parts, CURLUPART_PORT, UInt32(CURLU_DEFAULT_PORT)),
                curl_url_set(parts, CURLUPART_HOST, name, 0) == CURLUE_OK, let changed = text(parts, CURLUPART_URL)
            else { return nil }
            return (changed, "\(host):\(port)")
        }
    }

    private static func parse<Value>(_ url: String, _ read: (OpaquePointer) -> Value?) -> Value? {
        guard let parts = curl_url() else { return nil }
        defer { curl_url_cleanup(parts) }
        guard curl_url_set(parts, CURLUPART_URL, url, UInt32(CURLU_NON_SUPPORT_SCHEME)) == CURLUE_OK else { return nil }
        return read(parts)
    }

    private static func text(_ parts: OpaquePointer, _ part: CURLUPart, _ flags: UInt32 = 0) -> String? {
        var value: UnsafeMutablePointer<CChar>?
        guard curl_url_get(parts, part, &value, flags) == CURLUE_OK, let value else { return nil }
        defer { curl_free(value) }
        return String(cString: value)
    }
}

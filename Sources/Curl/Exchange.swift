import CCurl
import Glibc

/// One request in libcurl's hands. Lives on the client's thread only.
final class Exchange {
    /// All headers of a response together.
    private static let maxHeaderBytes = 256 << 10

    let transfer: Transfer
    let easy: UnsafeMutableRawPointer
    /// Milliseconds.
    let idleLimit: Int64?
    private(set) var lastActivity = monotonicMilliseconds()
    private var isReceivePaused = false
    private var isSendPaused = false
    private var headerList: UnsafeMutablePointer<curl_slist>?
    private var connectList: UnsafeMutablePointer<curl_slist>?
    /// Where libcurl writes what went wrong.
    private let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
    private var head: TransferState.Head?
    private var headIsComplete = false
    private var headerBytes = 0
    /// Why we made libcurl stop, which it can only report as a failed write.
    private var refusal: CurlError?

    /// - Throws: when the request cannot be sent as it is.
    init(_ transfer: Transfer) throws(CurlError) {
        self.transfer = transfer
        idleLimit = transfer.request.idleTimeout.map(\.wholeMilliseconds)
        guard let easy = curl_easy_init() else {
            errorText.deallocate()
            throw CurlError(.resources, "\(transfer.summary): out of memory")
        }
        self.easy = easy
        errorText.pointee = 0
        try configure()
    }

    deinit {
        curl_easy_cleanup(easy)
        curl_slist_free_all(headerList)
        curl_slist_free_all(connectList)
        errorText.deallocate()
    }

    static func of(_ easy: UnsafeMutableRawPointer?) -> Exchange? {
        var context: UnsafeMutableRawPointer?
        guard let easy, holdfast_curl_get_pointer(easy, CURLINFO_PRIVATE, &context) == CURLE_OK, let context else { return nil }
        return Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
    }

    // MARK: Setting up

    private func configure() throws(CurlError) {
        let request = transfer.request
        let context = Unmanaged.passUnretained(self).toOpaque()
        try set(CURLOPT_PRIVATE, pointer: context)
        try set(CURLOPT_ERRORBUFFER, pointer: errorText)
        guard Summary.isHTTP(request.url) else {
            throw CurlError(.invalidRequest, "\(transfer.summary): the URL must begin with http:// or https:// and have a host")
        }
        try set(CURLOPT_PROTOCOLS_STR, "http,https")
        try set(CURLOPT_URL, request.url)
        try set(CURLOPT_NOSIGNAL, 1)
        // A name look-up in another thread is left behind when its request goes, not waited for.
        try set(CURLOPT_QUICK_EXIT, 1)
        try set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        try set(CURLOPT_TCP_KEEPALIVE, 1)
        try set(CURLOPT_HTTP_VERSION, Int(request.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1))
        // A second request waits for the first one's handshake, to see whether it can share its connection. Without TLS it would
        // wait for the first one's answer.
        if request.http2, request.url.lowercased().hasPrefix("https:") { try set(CURLOPT_PIPEWAIT, 1) }
        try set(CURLOPT_CONNECTTIMEOUT_MS, max(1, Int(request.connectTimeout.wholeMilliseconds)))
        if let size = request.bufferSize { try set(CURLOPT_BUFFERSIZE, size) }
        if let timeout = request.timeout { try set(CURLOPT_TIMEOUT_MS, max(1, Int(timeout.wholeMilliseconds))) }
        if let path = request.unixSocket { try set(CURLOPT_UNIX_SOCKET_PATH, path) }
        if let proxy = request.proxy {
            try set(CURLOPT_PROXY, proxy)
            try set(CURLOPT_NOPROXY, "")
        } else if request.unixSocket != nil || Summary.isLoopback(request.url) {
            try set(CURLOPT_PROXY, "")
        }
        try setMethodAndBody()
        try setHeaders()
        try setTLS()
        try check(holdfast_curl_set_callback(easy, CURLOPT_HEADERFUNCTION, headerArrived))
        try set(CURLOPT_HEADERDATA, pointer: context)
        try check(holdfast_curl_set_callback(easy, CURLOPT_WRITEFUNCTION, bodyArrived))
        try set(CURLOPT_WRITEDATA, pointer: context)
    }

    private func setMethodAndBody() throws(CurlError) {
        let request = transfer.request
        guard !request.method.isEmpty, request.method.utf8.allSatisfy(isTokenByte) else {
            throw CurlError(.invalidRequest, "\(transfer.summary): “\(request.method)” is not a method")
        }
        if let upload = request.upload {
            guard request.body == nil else {
                throw CurlError(.invalidRequest, "\(transfer.summary): there are two bodies, one of them streamed")
            }
            try set(CURLOPT_POST, 1)
            try check(holdfast_curl_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(upload.length ?? -1)))
            try check(holdfast_curl_set_callback(easy, CURLOPT_READFUNCTION, bodyWanted))
            try set(CURLOPT_READDATA, pointer: Unmanaged.passUnretained(self).toOpaque())
            // On a kept-alive connection that turns out to be dead it would have to be sent once more.
            try set(CURLOPT_FRESH_CONNECT, 1)
            if request.method != "POST" { try set(CURLOPT_CUSTOMREQUEST, request.method) }
            return
        }
        // A method that usually carries a body says `Content-Length: 0` when it has none.
        let body = request.body ?? (["POST", "PUT", "PATCH"].contains(request.method) ? [] : nil)
        if let body {
            try set(CURLOPT_POST, 1)
            try check(holdfast_curl_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count)))
            let code = body.withUnsafeBytes { bytes in
                // For no bytes at all the pointer may be nil, which would mean "read it from a callback".
                holdfast_curl_set_pointer(easy, CURLOPT_COPYPOSTFIELDS, bytes.baseAddress ?? UnsafeRawPointer(errorText))
            }
            try check(code)
        }
        if request.method == "HEAD" {
            try set(CURLOPT_NOBODY, 1)
        } else if request.method != (body == nil ? "GET" : "POST") {
            try set(CURLOPT_CUSTOMREQUEST, request.method)
        }
    }

    private func setHeaders() throws(CurlError) {
        let request = transfer.request
        var lines = ["Expect:"]
        if request.headers.first(named: "Content-Type") == nil { lines.append("Content-Type:") }
        for (name, value) in request.headers {
            guard !name.isEmpty, name.utf8.allSatisfy(isTokenByte),
                !value.utf8.contains(where: { $0 == 0 || $0 == 10 || $0 == 13 })
            else {
                throw CurlError(
                    .invalidRequest, "\(transfer.summary): the header “\(name)” has a character that may not be in one")
            }
            // libcurl removes a header "Name:" and sends an empty one for "Name;".
            lines.append(value.isEmpty ? "\(name);" : "\(name): \(value)")
        }
        if request.tls.serverName != nil, request.headers.first(named: "Host") == nil, let host = Summary.host(request.url) {
            lines.append("Host: \(host)")
        }
        for line in lines { try append(line, to: &headerList) }
        try check(holdfast_curl_set_list(easy, CURLOPT_HTTPHEADER, headerList))
    }

    private func append(_ line: String, to list: inout UnsafeMutablePointer<curl_slist>?) throws(CurlError) {
        guard let longer = curl_slist_append(list, line) else {
            throw CurlError(.resources, "\(transfer.summary): out of memory")
        }
        list = longer
    }

    private func setTLS() throws(CurlError) {
        let tls = transfer.request.tls
        if let name = tls.serverName {
            // libcurl takes the name to check from the URL, so that is where it goes; the connection goes to the URL's own host.
            guard let (url, host) = Summary.replaceHost(of: transfer.request.url, by: name) else {
                throw CurlError(.invalidRequest, "\(transfer.summary): “\(name)” is not a server's name")
            }
            try set(CURLOPT_URL, url)
            try append("::\(host)", to: &connectList)
            try check(holdfast_curl_set_list(easy, CURLOPT_CONNECT_TO, connectList))
        }
        if tls.authorities != nil {
            // Debian's libcurl would otherwise go on trusting the system's directory of authorities as well.
            try check(holdfast_curl_set_string(easy, CURLOPT_CAPATH, nil))
        }
        // libcurl would keep what it has read of a file for a day, but the file may be replaced.
        if case .file = tls.authorities { try set(CURLOPT_CA_CACHE_TIMEOUT, 0) }
        try set(tls.authorities, file: CURLOPT_CAINFO, blob: CURLOPT_CAINFO_BLOB)
        try set(tls.certificate, file: CURLOPT_SSLCERT, blob: CURLOPT_SSLCERT_BLOB)
        try set(tls.key, file: CURLOPT_SSLKEY, blob: CURLOPT_SSLKEY_BLOB)
        if !tls.verifiesServer {
            try set(CURLOPT_SSL_VERIFYPEER, 0)
            try set(CURLOPT_SSL_VERIFYHOST, 0)
        }
    }

    private func set(_ source: CurlTLS.Source?, file: CURLoption, blob: CURLoption) throws(CurlError) {
        switch source {
        case nil: break
        case .file(let path): try set(file, path)
        case .pem(let bytes):
            try check(bytes.withUnsafeBytes { holdfast_curl_set_blob(easy, blob, $0.baseAddress, $0.count) })
        }
    }

    private func set(_ option: CURLoption, _ value: Int) throws(CurlError) {
        try check(holdfast_curl_set_long(easy, option, value))
    }

    private func set(_ option: CURLoption, _ value: String) throws(CurlError) {
        guard !value.utf8.contains(0) else {
            throw CurlError(.invalidRequest, "\(transfer.summary): there is a NUL character in the request")
        }
        try check(holdfast_curl_set_string(easy, option, value))
    }

    private func set(_ option: CURLoption, pointer: UnsafeRawPointer) throws(CurlError) {
        try check(holdfast_curl_set_pointer(easy, option, pointer))
    }

    private func check(_ code: CURLcode) throws(CurlError) {
        guard code != CURLE_OK else { return }
        throw CurlError(
            code == CURLE_OUT_OF_MEMORY ? .resources : .invalidRequest,
            "\(transfer.summary): \(String(cString: curl_easy_strerror(code)))", curlCode: Int32(code.rawValue))
    }

    // MARK: While it runs

    /// The caller makes the server wait, as a reader or as a writer.
    var isPaused: Bool { isReceivePaused || isSendPaused }

    /// Goes on after a pause, in both directions: what cannot go on says so again. libcurl hands over what it held back before this
    /// returns.
    func resume() {
        guard isPaused else { return }
        isReceivePaused = false
        isSendPaused = false
        lastActivity = monotonicMilliseconds()
        curl_easy_pause(easy, CURLPAUSE_CONT)
    }

    /// One line of the head, with its line end. False ends the transfer.
    fileprivate func receiveHeader(_ bytes: UnsafeRawBufferPointer) -> Bool {
        lastActivity = monotonicMilliseconds()
        if headIsComplete { return true }  // Trailers, after a chunked body.
        headerBytes += bytes.count
        guard headerBytes <= Self.maxHeaderBytes else {
            refusal = CurlError(
                .protocol, "\(transfer.summary): the response's headers have more than \(Self.maxHeaderBytes) bytes")
            return false
        }
        let line = bytes[..<(bytes.lastIndex { $0 != 10 && $0 != 13 }.map { $0 + 1 } ?? 0)]
        if line.starts(with: "HTTP/".utf8) {
            head = TransferState.Head(status: 0, headers: [])
        } else if line.isEmpty {
            var status = 0
            holdfast_curl_get_long(easy, CURLINFO_RESPONSE_CODE, &status)
            guard status >= 200 || status == 101, var head else { return true }  // 100 Continue and 103 Early Hints come before.
            head.status = status
            headIsComplete = true
            transfer.receive(head)
        } else if let colon = line.firstIndex(of: UInt8(ascii: ":")) {
            func text(_ bytes: Slice<UnsafeRawBufferPointer>) -> String {
                let inner = bytes.drop { $0 == 32 || $0 == 9 }
                let end = inner.lastIndex { $0 != 32 && $0 != 9 }.map { $0 + 1 } ?? inner.startIndex
                return String(decoding: inner[..<end], as: UTF8.self)
            }
            head?.headers.append((name: text(line[..<colon]), value: text(line[(colon + 1)...])))
        }
        return true
    }

    fileprivate func receiveBody(_ bytes: UnsafeRawBufferPointer) -> TransferState.Verdict {
        lastActivity = monotonicMilliseconds()
        let verdict = transfer.receive(bytes)
        isReceivePaused = verdict == .pause
        return verdict
    }

    fileprivate func send(into space: UnsafeMutableRawBufferPointer) -> UploadState.Portion {
        lastActivity = monotonicMilliseconds()
        let portion = transfer.send(into: space)
        if case .pause = portion { isSendPaused = true }
        return portion
    }

    // MARK: When it fails

    /// What libcurl's code means for the caller.
    func error(_ result: CURLcode) -> CurlError {
        if let refusal { return refusal }
        let code: CurlError.Code =
            switch result {
            case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT, CURLE_PROXY,
                CURLE_INTERFACE_FAILED:
                .connect
            case CURLE_OPERATION_TIMEDOUT: .timeout
            case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CACERT_BADFILE,
                CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_CLIENTCERT,
                CURLE_SSL_PINNEDPUBKEYNOTMATCH:
                .tls
            case CURLE_GOT_NOTHING, CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_PARTIAL_FILE, CURLE_HTTP2, CURLE_HTTP2_STREAM,
                CURLE_SSL_SHUTDOWN_FAILED:
                .lost
            case CURLE_OUT_OF_MEMORY, CURLE_FAILED_INIT, CURLE_NO_CONNECTION_AVAILABLE: .resources
            case CURLE_URL_MALFORMAT, CURLE_BAD_FUNCTION_ARGUMENT: .invalidRequest
            default: .protocol
            }
        var text = String(cString: errorText)
        if text.isEmpty { text = String(cString: curl_easy_strerror(result)) }
        var number = 0
        holdfast_curl_get_long(easy, CURLINFO_OS_ERRNO, &number)
        if code == .connect, number != 0 {
            let cause = String(cString: strerror(Int32(number)))
            if !text.contains(cause) { text += " (\(cause))" }
        }
        if let path = transfer.request.unixSocket { text = "through the Unix socket \(path): \(text)" }
        return CurlError(code, "\(transfer.summary): \(text)", curlCode: Int32(result.rawValue))
    }
}

private func headerArrived(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    let exchange = Unmanaged<Exchange>.fromOpaque(context!).takeUnretainedValue()
    return exchange.receiveHeader(UnsafeRawBufferPointer(start: bytes, count: size * count)) ? size * count : 0
}

private func bodyArrived(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    let exchange = Unmanaged<Exchange>.fromOpaque(context!).takeUnretainedValue()
    guard size * count > 0 else { return 0 }
    switch exchange.receiveBody(UnsafeRawBufferPointer(start: bytes, count: size * count)) {
    case .taken: return size * count
    case .pause: return Int(CURL_WRITEFUNC_PAUSE)
    case .refuse: return 0
    }
}

private func bodyWanted(
    _ space: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    let exchange = Unmanaged<Exchange>.fromOpaque(context!).takeUnretainedValue()
    switch exchange.send(into: UnsafeMutableRawBufferPointer(start: space, count: size * count)) {
    case .bytes(let count): return count
    case .pause: return Int(CURL_READFUNC_PAUSE)
    case .end: return 0
    }
}

/// RFC 9110's `tchar`: what methods and header names are made of.
private func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
    default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
}

extension Duration {
    var wholeMilliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds.multipliedReportingOverflow(by: 1000).partialValue + attoseconds / 1_000_000_000_000_000
    }
}

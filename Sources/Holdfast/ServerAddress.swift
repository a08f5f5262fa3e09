import FoundationEssentials
import SessionModel

/// Where the server is, and the token it wants.
struct ServerAddress: Sendable, Hashable {
    var url: String
    var token: String?

    /// What a server in local mode writes into its data directory.
    private struct Record: Decodable {
        var url: String
        var tokenFile: String?
    }

    /// From the command line, else from the environment, else from the `server.json` of the data directory.
    /// - Parameter read: the contents of a file, or nil when it cannot be read.
    static func resolve(
        _ options: ServerOptions, environment: [String: String], read: (String) -> String?
    ) throws(Failure) -> ServerAddress {
        func given(_ option: String?, _ variable: String) -> String? {
            option ?? environment[variable].flatMap { $0.isEmpty ? nil : $0 }
        }
        var tokenFile = given(options.tokenFile, "HOLDFAST_TOKEN_FILE")
        var url = given(options.server, "HOLDFAST_SERVER")
        if url == nil {
            let file = given(options.dataDir, "HOLDFAST_DATA").map { "\($0)/server.json" } ?? defaultRecord(environment)
            guard let text = read(file) else {
                throw Failure(
                    .unreachable,
                    "no Holdfast server runs here (there is no \(file)): start one with `holdfast-supervisor serve` or `make run`, or name one with --server"
                )
            }
            guard let record = try? JSON.decode(Record.self, from: text) else {
                throw Failure(
                    .unreachable, "\(file) does not say where the server is: start it again with `holdfast-supervisor serve`")
            }
            url = record.url
            tokenFile = tokenFile ?? record.tokenFile
        }
        guard var url, url.hasPrefix("http://") || url.hasPrefix("https://") else {
            throw Failure(.usage, "the server's address “\(url ?? "")” is not a URL that begins with http:// or https://")
        }
        while url.hasSuffix("/") { url.removeLast() }
        guard let tokenFile else { return ServerAddress(url: url, token: nil) }
        return ServerAddress(url: url, token: try token(in: tokenFile, read: read))
    }

    static func token(in file: String, read: (String) -> String?) throws(Failure) -> String {
        guard let text = read(file) else {
            throw Failure(.failed, "the token file \(file) cannot be read: check its path and its permissions")
        }
        let token = text.split(whereSeparator: \.isWhitespace).first.map(String.init)
        guard let token else { throw Failure(.failed, "the token file \(file) is empty") }
        return token
    }

    private static func defaultRecord(_ environment: [String: String]) -> String {
        let home = environment["XDG_DATA_HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? "\(environment["HOME"] ?? "")/.local/share"
        return "\(home)/holdfast/server.json"
    }
}

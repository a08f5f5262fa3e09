import FoundationEssentials
import Glibc

/// What is measured, and where.
struct Settings {
    var sidecar: String
    var supervisor: String?
    /// On the file system that is measured; everything in it goes.
    var directory: String
    /// How long one load lasts in each round.
    var seconds = 0.8
    /// The size of the large transcript, bytes.
    var transcript = 1 << 30
    /// The beginnings of the names of what is measured; nil for all.
    private var only: [String]?

    /// - Throws: ``Failure`` that says how to call it.
    init(_ arguments: [String]) throws {
        var values: [String: String] = [:]
        var rest = arguments[...]
        while let name = rest.popFirst() {
            guard name.hasPrefix("--"), let value = rest.popFirst() else { throw Failure(Self.usage) }
            values[String(name.dropFirst(2))] = value
        }
        guard let sidecar = values["sidecar"], let directory = values["directory"] else { throw Failure(Self.usage) }
        self.sidecar = sidecar
        self.directory = directory
        supervisor = values["supervisor"]
        if let seconds = values["seconds"].flatMap({ Double($0) }) { self.seconds = seconds }
        if let size = values["transcript-mb"].flatMap({ Int($0) }) { transcript = size << 20 }
        only = values["only"].map { $0.split(separator: ",").map(String.init) }
    }

    static let usage = """
        usage: holdfast-bench --sidecar FILE --directory DIR [--supervisor FILE] [--seconds N] [--transcript-mb N]
                              [--only NAME,…]
        The names, of which a beginning suffices: enqueue-unix-1, enqueue-tcp-1, enqueue-unix-64, enqueue-tcp-64, transcript,
        sidecar-start, sidecar-turns, sidecar-large, followup.
        """

    func wants(_ name: String) -> Bool { only?.contains { name.hasPrefix($0) } ?? true }

    /// A new directory with a short name.
    func fresh(_ name: String, in parent: String? = nil) throws -> String {
        let path = parent.map { "\($0)/holdfast-bench-\(getpid())-\(name)" } ?? "\(directory)/\(name)"
        try? FileManager.default.removeItem(atPath: path)
        _ = try check(mkdir(path, 0o700), path)
        return path
    }

    func remove(_ path: String) { try? FileManager.default.removeItem(atPath: path) }

    /// A sidecar on a state directory, with what else it is given.
    func sidecar(state: String, _ more: [String] = []) throws -> Server {
        try Server(
            [sidecar, "serve", "--state-dir", state + "/state", "--socket", state + "/s", "--log-level", "warning"] + more,
            at: .unix(state + "/s"), log: directory + "/log")
    }

    /// A file that describes this program as an agent.
    func peer(in directory: String, events: Int = 0, stamps: String? = nil) throws -> String {
        let path = directory + "/agent.json"
        try Data(peerDescription(events: events, stamps: stamps).utf8).write(to: URL(filePath: path))
        return path
    }

    /// This program as an agent: see ``Peer``.
    func peerDescription(events: Int = 0, stamps: String? = nil) -> String {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = buffer.withUnsafeMutableBytes { readlink("/proc/self/exe", $0.baseAddress!, $0.count) }
        let program = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        return #"{"driver":"acp","command":["\#(program)","peer","\#(events)","\#(stamps ?? "")"]}"#
    }
}

func freePort() throws -> UInt16 {
    let fd = try check(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0), "socket")
    defer { close(fd) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    return try withUnsafeMutablePointer(to: &address) {
        try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            _ = try check(bind(fd, $0, length), "bind")
            _ = try check(getsockname(fd, $0, &length), "getsockname")
        }
        return UInt16(bigEndian: $0.pointee.sin_port)
    }
}

import SessionModel

/// The answer to a push, as git prints it.
enum PushReport {
    /// What git takes for the forge's own refusal: nothing was pushed, and why, for each ref.
    /// - Parameter reasons: by ref; a ref without one is refused with the others.
    static func refusal(of request: PushRequest, reasons: [String: String], hint: String) -> [UInt8] {
        var report = Packet("unpack ok\n").bytes
        for command in request.commands {
            report += Packet("ng \(command.ref) \(reasons[command.ref] ?? "refused with the other refs of this push")\n").bytes
        }
        report += Packet.flush.bytes
        guard request.hasSideBand else { return report }
        return Packet.data([2] + Array("\(hint)\n".utf8)).bytes + Packet.data([1] + report).bytes + Packet.flush.bytes
    }

    /// What the forge said of each ref.
    /// - Parameter sideBand: whether the report is wrapped among progress messages.
    /// - Returns: nil when this is no report, or only a part of one.
    static func results(_ bytes: some Sequence<UInt8>, sideBand: Bool) -> [String: GitRefUpdate.Result]? {
        var outer = PacketReader()
        outer.append(bytes)
        var inner = PacketReader()
        if sideBand {
            while case .data(let payload)? = try? outer.next() { if payload.first == 1 { inner.append(payload.dropFirst()) } }
        } else {
            inner = outer
        }
        var results: [String: GitRefUpdate.Result] = [:]
        while let packet = try? inner.next() {
            guard case .data(var line) = packet else { return packet == .flush ? results : nil }
            if line.last == UInt8(ascii: "\n") { line.removeLast() }
            let words = String(decoding: line, as: UTF8.self).split(separator: " ", maxSplits: 2).map(String.init)
            switch words.first {
            case "ok" where words.count >= 2: results[words[1]] = .ok
            case "ng" where words.count >= 2: results[words[1]] = .refused(words.count > 2 ? words[2] : "no reason given")
            // `unpack …`, and the options of report-status-v2.
            default: break
            }
        }
        return nil
    }
}

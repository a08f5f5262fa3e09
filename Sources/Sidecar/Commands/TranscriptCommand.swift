import ArgumentParser
import FoundationEssentials
import Journal
import Rendering
import SessionModel

struct TranscriptCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transcript", abstract: "Read the transcript, from the sidecar or from its files.")

    enum Format: String, ExpressibleByArgument, CaseIterable { case text, markdown, jsonl }

    @OptionGroup var inspector: InspectorOptions
    @Flag(help: "Go on as it is written; counts as an attached client, which keeps the session from being idle.") var follow =
        false
    @Option(help: "text, markdown or jsonl: the very lines of the files.") var format: Format = .text
    @Option(help: "Begin after this cursor or sequence number.") var after: String?
    @Option(help: "One turn only, such as t3.") var turn: String?
    @Option(help: "Only events whose line matches this regular expression.") var grep: String?
    @Flag(help: "Show the frames of the agent's protocol, where they were recorded.") var raw = false
    @Flag(help: "Read the files, with the sidecar dead or alive.") var offline = false
    @Option(help: "Where the files are, for --offline. Default: $HOLDFAST_STATE_DIR, else /holdfast/state.") var stateDir: String?

    func run() throws {
        do {
            let filter = try grep.map { pattern in
                do { return try Regex(pattern) } catch {
                    throw Problem(.invalidRequest, "--grep “\(pattern)” is not a regular expression: \(error).")
                }
            }
            if let turn, TurnID(turn) == nil {
                throw Problem(.invalidRequest, "“\(turn)” is not a turn's id; they look like t3.")
            }
            if offline, follow { throw Problem(.invalidRequest, "--offline reads what is there: it cannot --follow.") }
            var printer = Printer(format: format, filter: filter, showsFrames: raw)
            try offline ? readFiles(&printer) : readServer(&printer)
        } catch { Exit.fail(error) }
    }

    private func readServer(_ printer: inout Printer) throws {
        var query = "?follow=\(follow)&attach=\(follow)"
        if let turn { query += "&turn=\(turn)" }
        if let after { query += "&after=\(after)" }
        try inspector.client.lines("/v1/transcript" + query, headers: [("Accept", "application/x-ndjson")]) { printer.print($0) }
    }

    private func readFiles(_ printer: inout Printer) throws {
        let state = stateDir ?? environment("HOLDFAST_STATE_DIR") ?? "/holdfast/state"
        let end: Cursor?
        do { end = try TranscriptReader.end(state: state) } catch {
            throw Problem(.notFound, "\(state) holds no transcript: \(error).")
        }
        guard let end else { throw Problem(.notFound, "\(state) holds no transcript.") }
        var start: UInt64 = 0
        if let after {
            guard let sequence = UInt64(after) ?? Cursor(after)?.sequence else {
                throw Problem(.invalidRequest, "“\(after)” is neither a cursor nor a sequence number.")
            }
            if let cursor = Cursor(after), cursor.journal != end.journal {
                throw Problem(.cursorGone, "The cursor \(cursor) belongs to another journal; this one is \(end.journal).")
            }
            guard sequence <= end.sequence else {
                throw Problem(.cursorGone, "The cursor \(after) is beyond the newest event, \(end.sequence).")
            }
            start = sequence
        }
        let reader = TranscriptReader(state: state, after: start)
        while case let items = try reader.next(), !items.isEmpty {
            for item in items {
                switch item {
                case .event(let line):
                    if let turn, line.turn?.description != turn { continue }
                    printer.print(line.bytes)
                case .gap(let gap):
                    printer.note("events \(gap.from) to \(gap.to) cannot be read: \(gap.reason)")
                }
            }
        }
    }

    /// Prints lines as they come, in the format that was asked for.
    private struct Printer {
        let format: Format
        let filter: Regex<AnyRegexOutput>?
        var renderer: TranscriptRenderer

        init(format: Format, filter: Regex<AnyRegexOutput>?, showsFrames: Bool) {
            self.format = format
            self.filter = filter
            renderer = TranscriptRenderer(
                format: format == .markdown ? .markdown : .text, color: Terminal.color, width: Terminal.width,
                showsFrames: showsFrames)
        }

        mutating func print(_ line: ArraySlice<UInt8>) {
            let text = String(decoding: line, as: UTF8.self)
            if let filter, text.firstMatch(of: filter) == nil { return }
            guard format != .jsonl else { return Terminal.write(text + "\n") }
            if let event = try? JSON.decode(Event.self, from: Data(line)) {
                Terminal.write(renderer.render(event))
            } else if let value = try? JSON.decode(JSONValue.self, from: Data(line)) {
                if let delta = value["delta"]?.string {
                    Terminal.write(renderer.renderDelta(delta))
                } else if value["type"]?.string == "journal.gap", let gap = value["data"] {
                    note("events \(gap["from"]?.integer ?? 0) to \(gap["to"]?.integer ?? 0) cannot be read")
                }
            }
        }

        mutating func note(_ text: String) { Terminal.write("-- \(text)\n") }
    }
}

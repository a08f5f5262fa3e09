import FoundationEssentials
import Glibc

/// The one Markdown table that a run prints, row by row as it is measured: a figure, and the ratio that it is judged by.
struct Table {
    private static let columns: [(name: String, width: Int)] = [
        ("what", 51), ("figure", 31), ("judged by", 34), ("ratio", 5), ("aim", 11), ("", 6),
    ]

    /// Whether an aim was missed.
    private(set) var missed = false

    init() {
        row(Self.columns.map(\.name))
        row(Self.columns.map { String(repeating: "-", count: max(3, $0.width)) })
    }

    /// - Parameter met: nil for a figure that only orients.
    mutating func add(
        _ what: String, _ figure: String, _ against: String = "", _ ratio: String = "", aim: String = "", met: Bool? = nil
    ) {
        if met == false { missed = true }
        row([what, figure, against, ratio, aim, met.map { $0 ? "met" : "missed" } ?? ""])
    }

    private func row(_ cells: [String]) {
        let padded = zip(cells, Self.columns).map { $0 + String(repeating: " ", count: max(0, $1.width - $0.count)) }
        print("| \(padded.joined(separator: " | ")) |")
        fflush(nil)
    }
}

/// A number with two or three significant digits: 0.123, 1.23, 12.3, 123, 12,345.
func short(_ value: Double) -> String {
    guard value.isFinite else { return "–" }
    if value >= 1000 {
        let digits = String(Int(value.rounded()))
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return text
    }
    let decimals = value >= 100 ? 0 : value >= 10 ? 1 : 2
    let scale = [1.0, 10, 100][decimals]
    let scaled = Int((value * scale).rounded())
    let whole = scaled / Int(scale)
    guard decimals > 0 else { return String(whole) }
    let rest = String(scaled % Int(scale))
    return "\(whole)." + String(repeating: "0", count: decimals - rest.count) + rest
}

import FoundationEssentials

/// The one Markdown table that a run prints: a figure, and the ratio that it is judged by.
struct Table {
    private var rows: [[String]] = [["what", "figure", "judged by", "ratio", "aim", ""]]

    /// - Parameter met: nil for a figure that only orients.
    mutating func add(
        _ what: String, _ figure: String, _ against: String = "", _ ratio: String = "", aim: String = "", met: Bool? = nil
    ) {
        rows.append([what, figure, against, ratio, aim, met.map { $0 ? "✓" : "✗" } ?? ""])
    }

    var text: String {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        var lines = rows.map { row in
            "| " + zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: " | ") + " |"
        }
        lines.insert("| " + widths.map { String(repeating: "-", count: max(3, $0)) }.joined(separator: " | ") + " |", at: 1)
        return lines.joined(separator: "\n")
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

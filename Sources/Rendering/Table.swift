/// Rows in aligned columns, for lists on a terminal.
///
/// ```swift
/// var table = Table(["NAME", "PHASE"])
/// table.add(["task-1", "Running"], styles: [nil, .green])
/// print(table.text(color: true, width: 80), terminator: "")
/// ```
public struct Table: Sendable {
    private let header: [String]
    private var rows: [(cells: [String], styles: [Style?])] = []

    public init(_ header: [String]) { self.header = header }

    /// Cells are made harmless; a missing one is empty.
    public mutating func add(_ cells: [String], styles: [Style?] = []) {
        rows.append((cells.map(TerminalText.harmlessLine), styles))
    }

    /// - Parameter width: of the terminal; the last column is cut so that rows fit. 0 cuts nothing.
    public func text(color: Bool, width: Int) -> String {
        let palette = Palette(isColored: color)
        let widths = header.indices.map { column in
            rows.reduce(header[column].columns) { max($0, column < $1.cells.count ? $1.cells[column].columns : 0) }
        }
        func line(_ cells: [String], _ styles: [Style?]) -> String {
            var text = ""
            var used = 0
            for column in header.indices {
                let isLast = column == header.indices.last
                var cell = column < cells.count ? cells[column] : ""
                if isLast, width > 0 { cell = cell.cut(to: max(10, width - used)) }
                let padding = isLast ? "" : String(repeating: " ", count: widths[column] - cell.columns + 2)
                let style = column < styles.count ? styles[column] : nil
                text += (style.map { palette(cell, $0) } ?? cell) + padding
                used += widths[column] + 2
            }
            while text.hasSuffix(" ") { text.removeLast() }
            return text + "\n"
        }
        return line(header, header.map { _ in .dim }) + rows.map { line($0.cells, $0.styles) }.joined()
    }

    /// At most so many columns of a terminal, with `…` at the end when something is cut off.
    public static func cut(_ text: String, to columns: Int) -> String { text.cut(to: columns) }
}

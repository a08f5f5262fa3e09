import Foundation
import SessionModel

/// A label selector and a field selector, as far as the project uses them: `=`, `==`, `!=`, `in (…)`, a label's presence and absence.
struct Selection: Sendable {
    private let labels: [Substring]
    private let fields: [Substring]

    init(_ query: [String: String]) {
        labels = Self.requirements(of: query["labelSelector"] ?? "")
        fields = (query["fieldSelector"] ?? "").split(separator: ",")
    }

    /// Split at the commas that are not within parentheses.
    private static func requirements(of text: String) -> [Substring] {
        var depth = 0
        return text.split { character in
            if character == "(" { depth += 1 } else if character == ")" { depth -= 1 }
            return character == "," && depth == 0
        }
    }

    var isEmpty: Bool { labels.isEmpty && fields.isEmpty }

    func matches(_ object: JSONValue) -> Bool {
        labels.allSatisfy { holds($0) { object["metadata"]?["labels"]?[$0]?.string } }
            && fields.allSatisfy { field in
                holds(field) { path in
                    path.split(separator: ".").reduce(object as JSONValue?) { $0?[String($1)] }?.string
                }
            }
    }

    private func holds(_ requirement: Substring, _ value: (String) -> String?) -> Bool {
        if let sign = requirement.range(of: " in ("), requirement.hasSuffix(")") {
            let values = requirement[sign.upperBound...].dropLast().split(separator: ",")
            return value(String(requirement[..<sign.lowerBound])).map { values.contains(Substring($0)) } ?? false
        }
        if let sign = requirement.range(of: "!=") {
            return value(String(requirement[..<sign.lowerBound])) != String(requirement[sign.upperBound...])
        }
        if let sign = requirement.range(of: "==") ?? requirement.range(of: "=") {
            return value(String(requirement[..<sign.lowerBound])) == String(requirement[sign.upperBound...])
        }
        if requirement.hasPrefix("!") { return value(String(requirement.dropFirst())) == nil }
        return value(String(requirement)) != nil
    }
}

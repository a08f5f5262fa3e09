import SessionModel

/// An amount of a resource, as Kubernetes writes it: `250m`, `1.5`, `512Mi`, `2e3`
/// (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/).
struct Quantity: Comparable {
    let value: Double

    private static let factors: [String: Double] = [
        "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
        "Ki": 0x1p10, "Mi": 0x1p20, "Gi": 0x1p30, "Ti": 0x1p40, "Pi": 0x1p50, "Ei": 0x1p60,
    ]

    /// Nil for what is no amount. In YAML a number needs no quotes.
    init?(_ json: JSONValue?) {
        switch json {
        case .integer(let whole)?: value = Double(whole)
        case .number(let number)?: value = number
        case .string(let text)?:
            let number = text.prefix { !$0.isLetter }
            let suffix = text[number.endIndex...]
            if let factor = Self.factors[String(suffix)], let number = Double(number) {
                value = number * factor
            } else if suffix.first == "e" || suffix.first == "E", let number = Double(text) {
                value = number
            } else {
                return nil
            }
        default: return nil
        }
    }

    static func < (one: Quantity, other: Quantity) -> Bool { one.value < other.value }
}

import FoundationEssentials

extension Lifetime {
    /// With the given fields set, and those that are null unset: a JSON merge patch.
    /// - Throws: `Problem` with one sentence that names the mistake.
    public func patched(_ patch: [String: JSONValue]) throws(Problem) -> Lifetime {
        do {
            guard case .object(var fields) = try JSON.decode(JSONValue.self, from: JSON.encode(self)) else { return self }
            for (name, value) in patch {
                guard Self.fieldNames.contains(name) else {
                    throw Problem(
                        .invalidRequest,
                        "“\(name)” is no field of a lifetime; there are \(Self.fieldNames.joined(separator: ", ")).")
                }
                fields[name] = value == .null ? nil : value
            }
            return try JSON.decode(Lifetime.self, from: JSON.encode(JSONValue.object(fields)))
        } catch let problem as Problem {
            throw problem
        } catch let error as DecodingError {
            throw Problem(.invalidRequest, "The lifetime is not valid: \(error.clause).")
        } catch {
            throw Problem(.internal, "\(error)")
        }
    }

    private static let fieldNames = CodingKeys.allCases.map(\.stringValue)
}

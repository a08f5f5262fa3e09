import GitHub
import SessionModel

extension SpawnerSpec {
    /// Why nothing can be made by it, as one clause; nil when something can.
    var fault: String? {
        if let mistake { return mistake }
        do throws(TemplateError) {
            _ = try PromptTemplate(taskTemplate.prompt)
            return nil
        } catch {
            return "taskTemplate.prompt: \(error)"
        }
    }
}

extension SpawnerStatus {
    static func ready(fault: String?, at now: Timestamp) -> Condition {
        Condition(
            type: "Ready", status: fault == nil ? .true : .false, reason: fault == nil ? "Valid" : "Invalid",
            message: fault.map { "\($0): nothing is made of events until it is mended" } ?? "", lastTransitionTime: now)
    }

    /// Whether a condition says already what it is to say.
    func states(_ condition: Condition) -> Bool {
        conditions.contains {
            $0.type == condition.type && $0.status == condition.status && $0.message == condition.message
        }
    }

    /// Sets a condition, in the place of the one of its type.
    mutating func state(_ condition: Condition) {
        if let index = conditions.firstIndex(where: { $0.type == condition.type }) {
            conditions[index] = condition
        } else {
            conditions.append(condition)
        }
    }
}

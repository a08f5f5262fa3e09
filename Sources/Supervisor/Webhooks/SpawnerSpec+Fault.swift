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
}

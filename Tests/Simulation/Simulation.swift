/// Runs the real machines in a simulated world, and tells what is wrong with them.
public enum Simulation {
    /// A run that broke a rule, made as small as it can be while it breaks the same one.
    public struct Failure: Sendable {
        public var seed: UInt64
        public var violation: Violation
        /// The acts that are left of the plan.
        public var acts: [String]
        /// What happened, one line each.
        public var lines: [String]

        /// All that a reader needs to find the mistake.
        public var report: String {
            let cut = lines.count > 400 ? ["… \(lines.count - 400) lines before …"] + lines.suffix(400) : lines
            return """
                seed \(seed) breaks “\(violation.rule)”: \(violation.what)
                with these acts:
                  \(acts.joined(separator: "\n  "))
                what happened:
                  \(cut.joined(separator: "\n  "))

                """
        }
    }

    /// Runs one seed.
    /// - Parameter dense: several times as much happens, at almost the same time.
    /// - Returns: its steps, and its failure if it has one.
    public static func run(seed: UInt64, dense: Bool = false) -> (steps: Int, failure: Failure?) {
        let plan = Plan(seed: seed, dense: dense)
        let (violation, steps, _) = Run(seed: seed, plan: plan).execute()
        return (steps, violation.map { shrink(seed, plan, $0) })
    }

    /// Leaves out parts of the plan for as long as the same rule breaks: first halves, then smaller pieces.
    private static func shrink(_ seed: UInt64, _ plan: Plan, _ first: Violation) -> Failure {
        func breaks(_ plan: Plan) -> Bool { Run(seed: seed, plan: plan).execute().violation?.rule == first.rule }
        var plan = plan
        var size = max(1, plan.acts.count / 2)
        while true {
            var start = 0
            var removed = false
            while start < plan.acts.count {
                var smaller = plan
                smaller.acts.removeSubrange(start..<min(start + size, plan.acts.count))
                if breaks(smaller) {
                    plan = smaller
                    removed = true
                } else {
                    start += size
                }
            }
            if size == 1, !removed { break }
            if !removed || size > plan.acts.count { size = max(1, size / 2) }
        }
        var fair = plan
        fair.weather = World.Weather()
        if breaks(fair) { plan = fair }
        let (violation, _, lines) = Run(seed: seed, plan: plan, tracing: true).execute()
        return Failure(seed: seed, violation: violation ?? first, acts: plan.acts.map(\.description), lines: lines)
    }
}

import SessionModel
import Testing

/// Every mistake in a lifetime is one sentence that names it, and the defaults are those of docs/operations.md.
@Suite struct LifetimeTests {
    private static var spans: [(String, WritableKeyPath<Lifetime, TimeSpan?>, mayBeZero: Bool)] {
        [
            ("idleTimeout", \.idleTimeout, false), ("ttl", \.ttl, false), ("suspendedTTL", \.suspendedTTL, false),
            ("turnTimeout", \.turnTimeout, false), ("inputTimeout", \.inputTimeout, false),
            ("startTimeout", \.startTimeout, false),
            ("dedupeWindow", \.dedupeWindow, false), ("drainTimeout", \.drainTimeout, true), ("agentIdle", \.agentIdle, true),
            ("archiveTTL", \.archiveTTL, true),
        ]
    }

    @Test func everyTimeIsChecked() {
        for (name, path, mayBeZero) in Self.spans {
            var lifetime = Lifetime()
            lifetime[keyPath: path] = .milliseconds(1)
            #expect(lifetime.mistake == nil)
            lifetime[keyPath: path] = .zero
            #expect(lifetime.mistake == (mayBeZero ? nil : "lifetime.\(name) must be more than zero"))
            lifetime[keyPath: path] = .milliseconds(-1)
            #expect(lifetime.mistake == "lifetime.\(name) must " + (mayBeZero ? "not be negative" : "be more than zero"))
        }
    }

    @Test func everyCountIsChecked() {
        var lifetime = Lifetime()
        lifetime.maxQueuedTurns = 0
        #expect(lifetime.mistake == "lifetime.maxQueuedTurns must be 1 or more")
        lifetime.maxQueuedTurns = 1
        lifetime.maxTurns = 0
        #expect(lifetime.mistake == "lifetime.maxTurns must be 1 or more")
        lifetime.maxTurns = 1
        lifetime.maxTokens = 0
        #expect(lifetime.mistake == "lifetime.maxTokens must be 1 or more")
        lifetime.maxTokens = 1
        #expect(lifetime.mistake == nil)
    }

    @Test func theDefaultsAreWhatTheDocsSay() {
        let resolved = Lifetime().resolved
        #expect(resolved.idleTimeout == .minutes(30) && resolved.onIdle == .suspend && resolved.onScopeClosed == .end)
        #expect(resolved.ttl == .days(7) && resolved.drainTimeout == .minutes(10) && resolved.suspendedTTL == .days(14))
        #expect(resolved.startTimeout == .minutes(5) && resolved.archiveTTL == .days(30) && resolved.dedupeWindow == .days(7))
        let limits = resolved.limits
        #expect(limits.turnTimeout == .hours(1) && limits.inputTimeout == .hours(1) && limits.agentIdle == .minutes(5))
        #expect(limits.maxQueuedTurns == 100 && limits.maxTurns == nil && limits.maxTokens == nil && !limits.countBackground)
    }
}

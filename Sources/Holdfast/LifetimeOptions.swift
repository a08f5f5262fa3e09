import ArgumentParser
import SessionModel

/// How long a session lives, as `run` says it for a new session and `set` for a living one.
struct LifetimeOptions: ParsableArguments {
    @Option(help: "After how long without work the session sleeps or ends.", transform: Reading.span)
    var idleTimeout: TimeSpan?

    @Option(help: ArgumentHelp("What it does when it is idle.", valueName: "suspend|end"), transform: Reading.word)
    var onIdle: Lifetime.OnIdle?

    @Option(help: ArgumentHelp("Whether what the agent left running counts as work.", valueName: "true|false"))
    var countBackground: Bool?

    @Option(help: "How old it may get.", transform: Reading.span)
    var ttl: TimeSpan?

    @Option(help: "How long a running turn may go on when the session is to stop.", transform: Reading.span)
    var drainTimeout: TimeSpan?

    @Option(name: .customLong("suspended-ttl"), help: "How long it may sleep before it ends.", transform: Reading.span)
    var suspendedTTL: TimeSpan?

    @Option(
        help: ArgumentHelp("What it does when its pull request or issue is closed.", valueName: "end|keep"),
        transform: Reading.word)
    var onScopeClosed: Lifetime.OnScopeClosed?

    @Option(name: .customLong("archive-ttl"), help: "How long its transcript stays after its end.", transform: Reading.span)
    var archiveTTL: TimeSpan?

    @Option(help: "How long one turn may take.", transform: Reading.span)
    var turnTimeout: TimeSpan?

    @Option(help: "How long a question of the agent waits.", transform: Reading.span)
    var inputTimeout: TimeSpan?

    @Option(help: "How long an idle agent process is kept.", transform: Reading.span)
    var agentIdle: TimeSpan?

    @Option(help: "How long its process may take to start.", transform: Reading.span)
    var startTimeout: TimeSpan?

    @Option(help: "How many turns may wait in it.")
    var maxQueuedTurns: Int?

    @Option(help: "How many turns it takes in its whole life.")
    var maxTurns: Int?

    @Option(help: "After so many tokens no further turn begins.")
    var maxTokens: Int64?

    @Option(help: "How long an idempotency key is remembered.", transform: Reading.span)
    var dedupeWindow: TimeSpan?

    @Option(help: "Without a scope: how long its result is kept while no supervisor asks for it.", transform: Reading.span)
    var resultHold: TimeSpan?

    var lifetime: Lifetime {
        var lifetime = Lifetime()
        lifetime.idleTimeout = idleTimeout
        lifetime.onIdle = onIdle
        lifetime.countBackground = countBackground
        lifetime.ttl = ttl
        lifetime.drainTimeout = drainTimeout
        lifetime.suspendedTTL = suspendedTTL
        lifetime.onScopeClosed = onScopeClosed
        lifetime.archiveTTL = archiveTTL
        lifetime.turnTimeout = turnTimeout
        lifetime.inputTimeout = inputTimeout
        lifetime.agentIdle = agentIdle
        lifetime.startTimeout = startTimeout
        lifetime.maxQueuedTurns = maxQueuedTurns
        lifetime.maxTurns = maxTurns
        lifetime.maxTokens = maxTokens
        lifetime.dedupeWindow = dedupeWindow
        lifetime.resultHold = resultHold
        return lifetime
    }
}

import CLinux
import Glibc
import Processes

/// The host's event loop: one thread, poll(2), no waiting anywhere else.
final class HostLoop {
    private var socket: Int32
    private let signals: Int32
    private let marker: (name: String, value: String)
    private let terminationGrace: Duration

    private var decoder = HostFrameDecoder()
    private var outbox = FrameOutbox()
    private var children: [UInt32: HostedChild] = [:]
    private var ids: [Int32: UInt32] = [:]
    private var ending: Ending?
    private var connected = true
    /// The sidecar has taken this host for its own.
    private var wasAccepted = false
    private var wasReleased = false
    /// After SIGTERM: when the processes are ended at the latest.
    private var stopAt: ContinuousClock.Instant?

    /// All processes are being ended.
    private struct Ending {
        var sweep: ProcessSweep
        var requests: [UInt32] = []
        var nextLook = ContinuousClock.now
    }

    /// How long the processes have to end by themselves when the sidecar is gone.
    static let lossGrace: Duration = .seconds(2)
    /// When nothing has happened for so long, in milliseconds, memory is given back, once.
    private static let restAfter: Int32 = 3000
    private var rests = false
    /// While so much waits for the sidecar, nothing more is read from processes, however many there are.
    private static let mostWaiting = 256 * 1024

    init(
        socket: Int32, signals: Int32, marker: (name: String, value: String), terminationGrace: Duration, hello: HostFrame.Hello
    ) {
        self.socket = socket
        self.signals = signals
        self.marker = marker
        self.terminationGrace = terminationGrace
        decoder.accepted = {
            [.welcome, .start, .input, .credit, .end, .signal, .abandon, .endAll, .list, .release].contains($0)
        }
        send(.hello(hello))
    }

    /// - Returns: the exit code, once the sidecar is gone and no process is left: 0 if it has released this host.
    func run() -> Int32 {
        while true {
            if connected, !outbox.flush(to: socket) { lose("the connection to the sidecar broke") }
            for source in waitForEvents() { handle(source) }
            if let stopAt, ContinuousClock.now >= stopAt, connected { lose("the grace time after SIGTERM is over") }
            if let ending, ContinuousClock.now >= ending.nextLook { lookForSurvivors() }
            if ending == nil, !connected { return wasReleased ? 0 : 1 }
        }
    }

    // MARK: Waiting

    private enum Source {
        case signals
        case socket(readable: Bool)
        case input(UInt32, broken: Bool)
        case stream(UInt32, HostFrame.Stream)
    }

    private func waitForEvents() -> [Source] {
        var requests = [pollfd(fd: signals, events: Int16(POLLIN), revents: 0)]
        var sources: [(Int16) -> Source] = [{ _ in .signals }]
        if connected {
            let events = Int16(POLLIN) | (outbox.count > 0 ? Int16(POLLOUT) : 0)
            requests.append(pollfd(fd: socket, events: events, revents: 0))
            sources.append { .socket(readable: $0 & ~Int16(POLLOUT) != 0) }
        }
        let mayRead = !connected || outbox.count < Self.mostWaiting
        for (id, child) in children {
            if let input = child.input {
                requests.append(pollfd(fd: input, events: child.hasInputToWrite ? Int16(POLLOUT) : 0, revents: 0))
                sources.append { .input(id, broken: $0 & Int16(POLLERR) != 0) }
            }
            for stream in [HostFrame.Stream.output, .errors] {
                guard mayRead, let descriptor = child.readable(stream) else { continue }
                requests.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
                sources.append { _ in .stream(id, stream) }
            }
        }
        let mayRest = timeout < 0 && !rests
        let ready = poll(&requests, nfds_t(requests.count), mayRest ? Self.restAfter : timeout)
        rests = ready == 0 && (rests || mayRest)
        if rests, mayRest { clinux_give_back_memory() }
        guard ready > 0 else { return [] }
        return zip(requests, sources).compactMap { request, source in request.revents == 0 ? nil : source(request.revents) }
    }

    /// Milliseconds until something is due; -1 for never.
    private var timeout: Int32 {
        guard let due = [ending?.nextLook, connected ? stopAt : nil].compactMap({ $0 }).min() else { return -1 }
        let left = due - .now
        return left <= .zero
            ? 0 : Int32(clamping: left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000 + 1)
    }

    private func handle(_ source: Source) {
        switch source {
        case .signals:
            while true {
                let number = clinux_next_signal()
                if number == 0 { break }
                if number == SIGCHLD { reap() } else { terminate() }
            }
        case .socket(let readable): if readable { receive() }
        case .input(let id, let broken): write(id, broken: broken)
        case .stream(let id, let stream): forward(id, stream)
        }
    }

    // MARK: The sidecar

    private func send(_ frame: HostFrame) {
        guard connected else { return }
        do { try outbox.append(frame) } catch { lose("\(error)") }
    }

    private func receive() {
        switch ReadResult.read(socket, limit: HostFrame.chunk) {
        case .nothing: return
        case .end: lose(wasAccepted ? nil : "the sidecar refused this host: another secret, or another version")
        case .bytes(let bytes):
            decoder.append(bytes)
            do throws(HostFrameError) {
                while connected, let frame = try decoder.next() { handle(frame) }
            } catch {
                lose("the sidecar broke the protocol: \(error)")
            }
        }
    }

    private func handle(_ frame: HostFrame) {
        switch frame {
        case .welcome:
            wasAccepted = true
        case .start(let id, let spec): start(id, spec)
        case .data(let id, .input, let bytes):
            guard children[id]?.take(bytes) != false else { return lose("the sidecar sent more input than it has credit for") }
            write(id, broken: false)
        case .end(let id, .input): children[id]?.endInput()
        case .credit(let id, .output, let count): children[id]?.outputCredit += Int(count)
        case .credit(let id, .errors, let count): children[id]?.errorsCredit += Int(count)
        case .signal(let id, let number):
            // Once it has been reaped its group's number may belong to somebody else.
            if let child = children[id], !child.exited, (1...64).contains(number) { kill(-child.pid, number) }
        case .abandon(let id):
            children[id]?.abandoned = true
            forgetIfFinished(id)
        case .endAll(let id, let grace):
            end(within: .milliseconds(Int(grace)))
            ending?.requests.append(id)
        case .release:
            wasReleased = true
            lose(nil)
        case .list(let id):
            let alive = ProcessEntry.descendants(of: getpid()).filter(\.isAlive)
            send(
                .processes(id, alive.prefix(500).map { HostedProcessInfo(pid: $0.pid, command: String($0.command.prefix(200))) }))
        default: lose("the sidecar broke the protocol: unexpected \(frame)")
        }
    }

    /// The sidecar is gone: nothing may go on without it.
    private func lose(_ reason: String?) {
        guard connected else { return }
        if let reason { HostProcess.report(reason) }
        connected = false
        close(socket)
        for id in Array(children.keys) {
            children[id]?.abandoned = true
            forgetIfFinished(id)
        }
        end(within: Self.lossGrace)
    }

    private func terminate() {
        guard stopAt == nil else { return }
        stopAt = .now + terminationGrace
        send(.terminating)
    }

    // MARK: Processes

    private func start(_ id: UInt32, _ spec: ProcessSpec) {
        guard children[id] == nil else { return lose("the sidecar used the id \(id) twice") }
        guard ending == nil else {
            return send(.startFailed(id, "Cannot start \(spec.arguments.first ?? ""): all processes are just being ended"))
        }
        do throws(SpawnError) {
            let child = try HostedChild(spec, marker: marker)
            children[id] = child
            ids[child.pid] = id
            send(.started(id, pid: child.pid))
        } catch {
            send(.startFailed(id, error.description))
        }
    }

    private func write(_ id: UInt32, broken: Bool) {
        guard children[id]?.input != nil else { return }
        if broken {
            children[id]?.closeInput()
            return send(.end(id, .input))
        }
        switch children[id]?.writeInput() {
        case .broken: send(.end(id, .input))
        case .credit(let count) where count > 0: send(.credit(id, .input, UInt32(count)))
        default: break
        }
    }

    private func forward(_ id: UInt32, _ stream: HostFrame.Stream) {
        guard let result = children[id]?.read(stream) else { return }
        let abandoned = children[id]?.abandoned == true
        switch result {
        case .nothing: return
        case .bytes(let bytes):
            if stream == .errors { HostLog.write(children[id]?.logged(bytes) ?? []) }
            if !abandoned { send(.data(id, stream, bytes)) }
        case .end:
            if stream == .errors { HostLog.write(children[id]?.logged(nil) ?? []) }
            if !abandoned { send(.end(id, stream)) }
            forgetIfFinished(id)
        }
    }

    private func forgetIfFinished(_ id: UInt32) {
        guard children[id]?.isFinished == true else { return }
        children[id]?.closeAll()
        children[id] = nil
    }

    /// Collects every child that has ended: those that were started here, and the orphans that fell to this subreaper.
    private func reap() {
        while true {
            switch Child.reapAny() {
            case .running: return
            case .childless: return allEnded()
            case .ended(let pid, let end):
                guard let id = ids.removeValue(forKey: pid) else { continue }
                children[id]?.exited = true
                children[id]?.closeInput()
                if children[id]?.abandoned == false {
                    switch end {
                    case .code(let code): send(.exited(id, .code(code)))
                    case .signal(let number): send(.exited(id, .signal(number)))
                    }
                }
                forgetIfFinished(id)
            }
        }
    }

    private func end(within grace: Duration) {
        if ending == nil {
            ending = Ending(sweep: ProcessSweep(ProcessSweep.Targets(descendantsOf: getpid()), grace: grace))
        } else {
            ending?.sweep.shortenGrace(to: grace)
            ending?.nextLook = .now
        }
    }

    private func lookForSurvivors() {
        reap()
        guard var current = ending else { return }
        current.sweep.step()
        current.nextLook = .now + (current.sweep.isKilling ? .milliseconds(5) : .milliseconds(20))
        ending = current
    }

    /// The kernel says that this process has no child. Orphans become its children, so it has no descendant either.
    private func allEnded() {
        for id in ending?.requests ?? [] { send(.allEnded(id)) }
        ending = nil
    }
}

import CCurl
import Glibc

/// What the client's thread does: waits in epoll and tells libcurl which sockets are ready and which timers are due.
///
/// libcurl is asked about single sockets (`curl_multi_socket_action`), never about all of them: a thousand requests that wait
/// cost no time. Only this thread touches libcurl and the objects below.
final class EngineLoop {
    private let engine: Engine
    private let multi: OpaquePointer
    private let epoll: Int32
    private var exchanges: [ObjectIdentifier: Exchange] = [:]
    private var descriptors: Set<Int32> = []
    /// When libcurl wants to be called, milliseconds of the monotonic clock.
    private var timer: Int64?
    private var idleDeadlines = DeadlineHeap()

    init(_ engine: Engine) {
        self.engine = engine
        _ = Self.libraryIsReady
        guard let multi = curl_multi_init() else { fatalError("libcurl could not be set up: out of memory") }
        self.multi = OpaquePointer(multi)
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        precondition(epoll >= 0, "no epoll for the HTTP client: \(String(cString: strerror(errno)))")
    }

    /// Once per process, before the first handle. libcurl 7.84 and later make this safe from any thread.
    private static let libraryIsReady: Bool = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    private var handle: UnsafeMutableRawPointer { UnsafeMutableRawPointer(multi) }

    func run() {
        let context = Unmanaged.passUnretained(self).toOpaque()
        holdfast_curl_multi_set_callbacks(handle, socketChanged, timerChanged, context)
        holdfast_curl_multi_set_long(handle, CURLMOPT_MAX_TOTAL_CONNECTIONS, engine.maxConnections)
        var wake = epoll_event()
        wake.events = EPOLLIN.rawValue
        wake.data.fd = engine.wakeDescriptor
        epoll_ctl(epoll, EPOLL_CTL_ADD, engine.wakeDescriptor, &wake)

        var waiting: [CheckedContinuation<Void, Never>] = []
        var isShuttingDown = false
        var events = [epoll_event](repeating: epoll_event(), count: 256)
        while !isShuttingDown {
            let count = epoll_wait(epoll, &events, Int32(events.count), timeoutMilliseconds())
            for event in events.prefix(Int(max(0, count))) {
                if event.data.fd == engine.wakeDescriptor { continue }
                var running: Int32 = 0
                curl_multi_socket_action(handle, event.data.fd, Self.readiness(event.events), &running)
            }
            if let due = timer, due <= monotonicMilliseconds() {
                timer = nil
                var running: Int32 = 0
                curl_multi_socket_action(handle, CURL_SOCKET_TIMEOUT, 0, &running)
            }
            for command in engine.takeCommands() {
                switch command {
                case .start(let transfer): start(transfer)
                case .abort(let transfer): exchanges[ObjectIdentifier(transfer)].map(discard)
                case .resume(let transfer): exchanges[ObjectIdentifier(transfer)]?.resume()
                case .shutdown(let continuation):
                    isShuttingDown = true
                    if let continuation { waiting.append(continuation) }
                }
            }
            endIdle()
            reap()
        }
        close(&waiting)
    }

    // MARK: Requests

    private func start(_ transfer: Transfer) {
        guard !transfer.hasEnded else { return }  // Cancelled before it began.
        do throws(CurlError) {
            let exchange = try Exchange(transfer)
            exchanges[ObjectIdentifier(transfer)] = exchange
            allowIdleConnections()
            let code = curl_multi_add_handle(handle, exchange.easy)
            guard code == CURLM_OK else {
                discard(exchange)
                throw CurlError(.resources, "\(transfer.summary): \(String(cString: curl_multi_strerror(code)))")
            }
            if let limit = exchange.idleLimit {
                idleDeadlines.insert(exchange.lastActivity + limit, ObjectIdentifier(transfer))
            }
        } catch {
            transfer.fail(error)
        }
    }

    private func discard(_ exchange: Exchange) {
        exchanges[ObjectIdentifier(exchange.transfer)] = nil
        curl_multi_remove_handle(handle, exchange.easy)
        allowIdleConnections()
    }

    /// libcurl counts busy connections, too, when it decides whether to keep the one that a request has just done with.
    private func allowIdleConnections() {
        holdfast_curl_multi_set_long(handle, CURLMOPT_MAXCONNECTS, max(1, exchanges.count - 1 + engine.maxIdleConnections))
    }

    /// Tells the callers of the requests that have ended.
    private func reap() {
        var left: Int32 = 0
        while let message = curl_multi_info_read(handle, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let exchange = Exchange.of(message.pointee.easy_handle) else { continue }
            let result = holdfast_curl_result(message)
            let error = result == CURLE_OK ? nil : exchange.error(result)
            discard(exchange)
            if let error { exchange.transfer.fail(error) } else { exchange.transfer.succeed() }
        }
    }

    private func endIdle() {
        let now = monotonicMilliseconds()
        while let id = idleDeadlines.popDue(at: now) {
            guard let exchange = exchanges[id], let limit = exchange.idleLimit else { continue }
            let due = exchange.isPaused ? now + limit : exchange.lastActivity + limit
            if due > now {
                idleDeadlines.insert(due, id)
            } else {
                discard(exchange)
                exchange.transfer.fail(
                    CurlError(.timeout, "\(exchange.transfer.summary): nothing was received for \(Duration.milliseconds(limit))"))
            }
        }
        idleDeadlines.compact { exchanges[$0] != nil }
    }

    private func close(_ waiting: inout [CheckedContinuation<Void, Never>]) {
        let late = engine.closeInbox()
        let live = exchanges.values
        for exchange in live {
            discard(exchange)
            exchange.transfer.fail(exchange.transfer.shutDown)
        }
        curl_multi_cleanup(handle)
        Glibc.close(epoll)
        for case .start(let transfer) in late { transfer.fail(transfer.shutDown) }
        for case .shutdown(let continuation?) in late { waiting.append(continuation) }
        for continuation in waiting { continuation.resume() }
    }

    // MARK: Sockets and time

    private func timeoutMilliseconds() -> Int32 {
        guard let next = [timer, idleDeadlines.first].compactMap(\.self).min() else { return -1 }
        return Int32(clamping: max(0, next - monotonicMilliseconds()))
    }

    private static func readiness(_ events: UInt32) -> Int32 {
        var mask: Int32 = 0
        if events & EPOLLIN.rawValue != 0 { mask |= CURL_CSELECT_IN }
        if events & EPOLLOUT.rawValue != 0 { mask |= CURL_CSELECT_OUT }
        if events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 { mask |= CURL_CSELECT_ERR }
        return mask
    }

    fileprivate func watch(_ descriptor: Int32, _ what: Int32) {
        guard what != CURL_POLL_REMOVE else {
            if descriptors.remove(descriptor) != nil { epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, nil) }
            return
        }
        var event = epoll_event()
        if what & CURL_POLL_IN != 0 { event.events |= EPOLLIN.rawValue }
        if what & CURL_POLL_OUT != 0 { event.events |= EPOLLOUT.rawValue }
        event.data.fd = descriptor
        let isNew = descriptors.insert(descriptor).inserted
        if epoll_ctl(epoll, isNew ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, descriptor, &event) != 0 {
            // The number was closed and given out again behind our back, or the other way round.
            epoll_ctl(epoll, errno == EEXIST ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, descriptor, &event)
        }
    }

    fileprivate func setTimer(_ milliseconds: Int) {
        timer = milliseconds < 0 ? nil : monotonicMilliseconds() + Int64(milliseconds)
    }
}

private func socketChanged(
    _: UnsafeMutableRawPointer?, _ descriptor: curl_socket_t, _ what: Int32, _ context: UnsafeMutableRawPointer?,
    _: UnsafeMutableRawPointer?
) -> Int32 {
    Unmanaged<EngineLoop>.fromOpaque(context!).takeUnretainedValue().watch(descriptor, what)
    return 0
}

private func timerChanged(_: UnsafeMutableRawPointer?, _ milliseconds: Int, _ context: UnsafeMutableRawPointer?) -> Int32 {
    Unmanaged<EngineLoop>.fromOpaque(context!).takeUnretainedValue().setTimer(milliseconds)
    return 0
}

func monotonicMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

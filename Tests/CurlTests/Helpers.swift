import Curl
import Dispatch
import Glibc
import NIOConcurrencyHelpers
import TLSServer
import Testing

final class Counter: Sendable {
    private let box = NIOLockedValueBox(0)
    var value: Int { box.withLockedValue { $0 } }
    func add(_ count: Int) { box.withLockedValue { $0 += count } }
}

/// Runs what blocks where it does not take a thread from Swift's pool.
func offThread<Value: Sendable>(_ work: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { done in
        DispatchQueue.global().async { done.resume(returning: work()) }
    }
}

/// The error of an attempt that must fail.
func failure<Value: Sendable>(_ attempt: () async throws -> Value) async -> CurlError? {
    do {
        _ = try await attempt()
        Issue.record("it must not succeed")
        return nil
    } catch {
        return error as? CurlError
    }
}

/// The memory of this process that is in RAM.
func residentBytes() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    guard fgets(&line, 256, file) != nil else { return 0 }
    let fields = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self).split(separator: " ")
    return (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
}

func request(_ url: String, trusting authority: TestAuthority?) -> CurlRequest {
    var request = CurlRequest("GET", url)
    request.tls.authorities = authority.map { .pem(Array($0.certificate.utf8)) }
    return request
}

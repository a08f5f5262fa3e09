import Foundation
import Glibc
import Journal
import SessionModel
import Support
import Testing

/// Errors of a disk that has not lost its power.
@Suite struct FaultTests {
    private let files = UnreliableFiles()

    /// Journal troubles as a stream, so that a test can wait for one.
    private func open(_ options: Journal.Options = .small) throws -> (Owner, AsyncStream<Journal.Trouble>.Iterator) {
        let (troubles, continuation) = AsyncStream.makeStream(of: Journal.Trouble.self)
        let owner = try Owner(files, options: options) { continuation.yield($0) }
        return (owner, troubles.makeAsyncIterator())
    }

    @Test func nothingCarriesOnAfterAFailedSync() async throws {
        for errno in [EIO, ENOSPC] {
            let files = UnreliableFiles()
            let (troubles, continuation) = AsyncStream.makeStream(of: Journal.Trouble.self)
            let owner = try Owner(files) { continuation.yield($0) }
            try await owner.settle()
            let durable = owner.journal.durable
            files.setFault { operation, _ in operation == .sync ? errno : nil }
            await owner.record(.message(Message(text: "lost")))
            let error = await #expect(throws: JournalError.self) { try await owner.settle() }
            #expect(error?.code == .broken)
            var iterator = troubles.makeAsyncIterator()
            guard case .broken = await iterator.next() else {
                Issue.record("no trouble")
                return
            }
            files.setFault(nil)
            await owner.record(.message(Message(text: "also lost")))
            await #expect(throws: JournalError.self) { try await owner.settle() }
            #expect(owner.journal.durable == durable)
            await owner.journal.close()
        }
    }

    @Test(arguments: [ENOSPC, EDQUOT, EROFS]) func aFullDiskFailsWaitersAndGoesOnWhenThereIsSpace(errno: Int32) async throws {
        var (owner, troubles) = try open()
        try await owner.settle()
        files.setFault { operation, _ in [.write, .reserve, .create].contains(operation) ? errno : nil }
        await owner.record(.message(Message(text: "pending")))
        let error = await #expect(throws: JournalError.self) { try await owner.settle() }
        #expect(error?.code == .full)
        guard case .full = await troubles.next() else {
            Issue.record("not full")
            return
        }
        #expect(owner.journal.fault?.code == .full)
        await owner.record(.message(Message(text: "pending too")))
        files.setFault(nil)
        #expect(await owner.journal.eventuallySynced(owner.journal.appended))
        #expect(await troubles.next() == .recovered)
        try await owner.settle()
        #expect(try readAll(files).map { try $0.event } == (await owner.events))
        await owner.journal.close()
    }

    /// The ends of running turns fit into the reserve even when a rotation is due.
    @Test func aRotationOnAFullDiskIsPutOff() async throws {
        let (owner, _) = try open()
        try await owner.settle()
        files.setFault { operation, _ in operation == .create ? ENOSPC : nil }
        for index in 0..<40 { await owner.record(.message(Message(text: "\(index)" + String(repeating: "x", count: 200)))) }
        try await owner.settle()
        files.setFault(nil)
        for index in 40..<80 { await owner.record(.message(Message(text: "\(index)" + String(repeating: "x", count: 200)))) }
        try await owner.settle()
        #expect(try readAll(files).map { try $0.event } == (await owner.events))
        #expect(try files.list("/state/transcript").count > 1)
        await owner.journal.close()
    }

    @Test func aRotationWhoseNameMayBeOnDiskIsNeverPutOff() async throws {
        let (owner, _) = try open()
        try await owner.settle()
        files.setFault { operation, _ in operation == .syncDirectory ? ENOSPC : nil }
        for index in 0..<40 { await owner.record(.message(Message(text: "\(index)" + String(repeating: "x", count: 200)))) }
        await #expect(throws: JournalError.self) { try await owner.settle() }
        #expect(owner.journal.fault?.code == .broken)
        await owner.journal.close()
    }

    private static let canMount = getuid() == 0 && mountWorks()

    private static func mountWorks() -> Bool {
        guard let directory = try? TemporaryDirectory(), mount("tmpfs", directory.path, "tmpfs", 0, "size=64k") == 0 else {
            return false
        }
        umount(directory.path)
        return true
    }

    @Test(.enabled(if: canMount, "mounting a tmpfs needs root and CAP_SYS_ADMIN")) func aRealDiskFillsUpAndIsEmptiedAgain()
        async throws
    {
        let directory = try TemporaryDirectory()
        #expect(mount("tmpfs", directory.path, "tmpfs", 0, "size=2m") == 0)
        defer { umount2(directory.path, Int32(MNT_DETACH)) }
        let real = PosixFileLayer()
        let state = directory.path + "/state"
        var options = Journal.Options.small
        options.reserve = 256 << 10
        options.segmentSize = 64 << 10
        let owner = try Owner(real, state: state, options: options)
        try await owner.settle()
        #expect(FileManager.default.createFile(atPath: directory.path + "/ballast", contents: Data(count: 1 << 20)))
        var refused = false
        for _ in 0..<200 where !refused {
            await owner.record(.message(Message(text: String(repeating: "x", count: 16 << 10))))
            do { try await owner.settle() } catch {
                #expect(error.code == .full)
                refused = true
            }
        }
        #expect(refused)
        let acknowledged = await owner.acknowledged
        try FileManager.default.removeItem(atPath: directory.path + "/ballast")
        #expect(await owner.journal.eventuallySynced(owner.journal.appended))
        try await owner.settle()
        #expect(acknowledged > 10)
        #expect(try readAll(real, state: state).map { try $0.event } == (await owner.events))
        await owner.journal.close()
    }
}

extension TranscriptReader.Item {
    /// The event; an error for a gap.
    var event: Event {
        get throws {
            switch self {
            case .event(let line): return try line.event()
            case .gap(let gap): throw FileError("gap \(gap.from)–\(gap.to)", gap.file, errno: EIO)
            }
        }
    }
}

import SessionModel
import Support
import Testing

@testable import Supervisor

@Suite struct DeadlineHeapTests {
    @Test func namesComeUpInTheOrderOfTheirEarliestDeadlines() {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededRandom(seed: seed)
        var heap = DeadlineHeap()
        var earliest: [String: Timestamp] = [:]
        var now = Timestamp(milliseconds: 0)
        for _ in 0..<5000 {
            if Int.random(in: 0..<3, using: &random) > 0 {
                let name = "session-\(Int.random(in: 0..<50, using: &random))"
                let due = now + .milliseconds(.random(in: 0...1000, using: &random))
                heap.insert(name, due: due)
                earliest[name] = min(earliest[name] ?? due, due)
            } else {
                now = now + .milliseconds(.random(in: 0...200, using: &random))
                var last = Timestamp(milliseconds: 0)
                while let (name, due) = heap.pop(dueBy: now) {
                    #expect(due == earliest[name] && due <= now && due >= last, "seed \(seed)")
                    earliest[name] = nil
                    last = due
                }
                #expect(earliest.values.allSatisfy { $0 > now }, "seed \(seed)")
            }
        }
    }

    /// A session whose end is put off with every turn has one entry, however many turns it has.
    @Test func aDeadlineThatIsPutOffCostsNothing() {
        var heap = DeadlineHeap()
        for moment in 1...1000 { heap.insert("one", due: Timestamp(milliseconds: Int64(moment))) }
        #expect(heap.count == 1)
        #expect(heap.pop(dueBy: Timestamp(milliseconds: 2000))?.due == Timestamp(milliseconds: 1))
        #expect(heap.pop(dueBy: Timestamp(milliseconds: 2000)) == nil)
    }
}

import Kubernetes
import SessionModel
import Testing

@testable import Supervisor

@Suite struct ReplicaTests {
    private let start = ContinuousClock.now

    private func object(_ version: String, uid: String = "a", _ text: String = "") -> GenericObject {
        var object = GenericObject(.configMaps, metadata: ObjectMeta(name: "x"), members: ["data": ["text": .string(text)]])
        object.metadata.uid = uid
        object.metadata.resourceVersion = version
        return object
    }

    @Test func whoWritesReadsWhatHeHasWritten() {
        var replica = Replica<GenericObject>()
        let change1 = replica.told(object("7"), at: start)
        #expect(change1)
        _ = replica.wrote(object("9"), at: start)
        // On its way since before the write.
        let change2 = replica.told(object("8"), at: start)
        #expect(!change2)
        #expect(replica.objects["x"]?.metadata.resourceVersion == "9")
        // The write itself is no news, and what comes after it is.
        let change3 = replica.told(object("9"), at: start)
        #expect(!change3)
        let change4 = replica.told(object("12"), at: start)
        #expect(change4)
        // An answer that comes late does not bring the past back.
        _ = replica.wrote(object("10"), at: start)
        #expect(replica.objects["x"]?.metadata.resourceVersion == "12")
    }

    @Test func aWriteThatTheServerHasForgottenIsNotHeldOnTo() {
        var replica = Replica<GenericObject>()
        _ = replica.wrote(object("900"), at: start)
        // The server was restored from a backup, and counts from there.
        let change5 = replica.told(object("20"), at: start + .seconds(1))
        #expect(!change5)
        let change6 = replica.told(object("21"), at: start + .seconds(61))
        #expect(change6)
        #expect(replica.objects["x"]?.metadata.resourceVersion == "21")
    }

    @Test func whatWasDeletedDoesNotComeBack() {
        var replica = Replica<GenericObject>()
        _ = replica.told(object("7"), at: start)
        _ = replica.tookAway(object("7"), at: start)
        let change7 = replica.told(object("8"), at: start)
        #expect(!change7)
        #expect(replica.objects["x"] == nil)
        // Another one of its name is another one.
        let change8 = replica.told(object("11", uid: "b"), at: start)
        #expect(change8)
        let change9 = replica.toldDeleted(object("10"), at: start)
        #expect(change9 == nil)
        #expect(replica.objects["x"]?.metadata.uid == "b")
    }

    @Test func versionsThatAreNoNumbersAreBelieved() {
        var replica = Replica<GenericObject>()
        _ = replica.wrote(object("b"), at: start)
        let change10 = replica.told(object("a"), at: start)
        #expect(change10)
        #expect(replica.objects["x"]?.metadata.resourceVersion == "a")
    }

    /// The watch may be faster than the answer to a write.
    @Test(arguments: [false, true]) func anAnswerThatComesAfterTheEndDoesNotBringItBack(isTold: Bool) {
        var replica = Replica<GenericObject>()
        _ = replica.told(object("7"), at: start)
        if isTold { _ = replica.toldDeleted(object("9"), at: start) } else { _ = replica.tookAway(object("8"), at: start) }
        let isKnown = replica.wrote(object("8"), at: start + .seconds(1))
        #expect(!isKnown)
        #expect(replica.objects["x"] == nil)
        // Nor does it take the place of another one of its name.
        _ = replica.told(object("11", uid: "b"), at: start + .seconds(1))
        _ = replica.wrote(object("8"), at: start + .seconds(1))
        #expect(replica.objects["x"]?.metadata.uid == "b")
        // A restored server has it again, and says so.
        let isBack = replica.told(object("7"), at: start + .seconds(62))
        #expect(isBack)
    }

    @Test func theDeadAreForgotten() {
        var replica = Replica<GenericObject>()
        for index in 0..<10_000 {
            _ = replica.toldDeleted(object("\(index)", uid: "\(index)"), at: start + .seconds(index))
        }
        #expect(replica.remembered < 200)
    }

    /// An answer that comes late does not hide a Task from its session.
    @Test func aTaskStaysWithItsSession() throws {
        var view = ClusterView()
        let key = try SessionKey(parsing: "pr:acme/widgets#12")
        let session = key.name
        let agent = AgentDescription(driver: .acp, command: ["agent"])
        var task = TaskObject(metadata: ObjectMeta(name: "one"), spec: TaskSpec(prompt: "1", worker: agent), status: nil)
        task.metadata.uid = "a"
        task.metadata.resourceVersion = "5"
        var routed = task
        routed.metadata.resourceVersion = "6"
        routed.status = TaskStatus()
        routed.status?.session = key
        _ = view.hear(.added(routed), at: start)
        let change = view.wrote(task, at: start)
        #expect(change == nil)
        #expect(view.tasks(ofSession: session) == ["one"])
        // Nor does what is told of one that had its name before.
        var old = routed
        old.metadata.uid = "before"
        _ = view.tookAway(old, at: start)
        #expect(view.tasks(ofSession: session) == ["one"])
    }
}

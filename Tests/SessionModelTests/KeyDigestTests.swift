import SessionModel
import Testing

@Suite struct KeyDigestTests {
    /// The same key with another request is a mistake, whatever it is that differs.
    @Test func everyFieldOfARequestCounts() {
        let requests = [
            TurnRequest(prompt: "p"), TurnRequest(prompt: "q"), TurnRequest(prompt: "p", whenBusy: .reject),
            TurnRequest(prompt: "p", supersedeKey: "p"), TurnRequest(prompt: "p", timeout: .seconds(1)),
            TurnRequest(prompt: "p", model: "p"), TurnRequest(prompt: "p", effort: "p"),
            TurnRequest(prompt: "p", onInterrupt: .retry(1)), TurnRequest(prompt: "p", onInterrupt: .continue(1)),
            TurnRequest(prompt: "p", raw: true), TurnRequest(prompt: "p", raw: false),
        ]
        let digests = Set(requests.map { KeyDigest(key: "k", request: $0).request })
        #expect(digests.count == requests.count)
    }

    /// What journals hold already must go on matching.
    @Test func aRequestHashesAsItEverDid() {
        let digest = KeyDigest(key: "k", request: TurnRequest(prompt: "p", model: "m"))
        #expect("\(digest.request)" == "1569e502b1f53d05aee1c8a772a1f99b")
    }
}

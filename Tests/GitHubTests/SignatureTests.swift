import Support
import Testing

@testable import GitHub

@Suite struct SignatureTests {
    /// From GitHub's documentation of webhooks.
    @Test func theDocumentedExampleIsRight() {
        let header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        #expect(WebhookSignature.isValid(header, body: "Hello, World!".utf8, secret: "It's a Secret to Everybody"))
        #expect(WebhookSignature.header(body: "Hello, World!".utf8, secret: "It's a Secret to Everybody") == header)
    }

    @Test func anythingElseIsWrong() {
        let body = Array("{\"a\": 1}".utf8)
        let header = WebhookSignature.header(body: body, secret: "s")
        #expect(WebhookSignature.isValid(header, body: body, secret: "s"))
        for wrong in [
            nil, "", "sha256=", String(header.dropLast()), header + "0", String(header.dropFirst(7)), header.uppercased(),
            "sha1=" + header.dropFirst(7), header.replacing("sha256=", with: "sha256= "), header + ", " + header,
            "sha256=" + String(repeating: "0", count: 64),
        ] { #expect(!WebhookSignature.isValid(wrong, body: body, secret: "s"), "\(wrong ?? "none")") }
        // Another secret, another body, no secret at all.
        #expect(!WebhookSignature.isValid(header, body: body, secret: "t"))
        #expect(!WebhookSignature.isValid(header, body: body + [32], secret: "s"))
        #expect(!WebhookSignature.isValid(WebhookSignature.header(body: body, secret: ""), body: body, secret: ""))
        // Every bit counts.
        var random = SeededRandom(seed: 5)
        for _ in 0..<200 {
            var changed = body
            changed[Int.random(in: 0..<changed.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            #expect(!WebhookSignature.isValid(header, body: changed, secret: "s"))
        }
    }
}

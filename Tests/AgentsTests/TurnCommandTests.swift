import SessionModel
import Testing

@testable import Agents

@Suite struct TurnCommandTests {
    private func arguments(_ template: [String], _ text: String = "P", _ values: [String: String] = [:]) -> [String] {
        TurnCommand(template, prompt: .argument, text: text, values: values).arguments
    }

    @Test func thePromptIsTheLastArgumentOrInItsPlace() {
        #expect(arguments(["a", "b"]) == ["a", "b", "P"])
        #expect(arguments(["a", "--message={prompt}", "b"]) == ["a", "--message=P", "b"])
        #expect(TurnCommand(["a"], prompt: .stdin, text: "P", values: [:]).arguments == ["a"])
        #expect(TurnCommand(["a"], prompt: .stdin, text: "P", values: [:]).input == "P")
    }

    @Test func anArgumentWithoutAValueIsLeftOut() {
        let template = ["a", "-m={model}", "{model}-{effort}", "{conversation}"]
        #expect(arguments(template) == ["a", "P"])
        #expect(arguments(template, "P", ["model": "m"]) == ["a", "-m=m", "P"])
        #expect(arguments(template, "P", ["model": "m", "effort": "e", "conversation": "c"]) == ["a", "-m=m", "m-e", "c", "P"])
    }

    @Test func whatIsPutInIsNotLookedAtAgain() {
        #expect(arguments(["{prompt}{{model}}"], "{model}{effort}", ["model": "{prompt}"]) == ["{model}{effort}{{prompt}}"])
        #expect(arguments(["{other}", "{", "}{"]) == ["{other}", "{", "}{", "P"])
    }

    @Test func wishesWithoutAPlaceAreTold() {
        let command = TurnCommand(["a", "{model}"], prompt: .argument, text: "P", values: ["model": "m", "effort": "e"])
        #expect(command.unused == ["effort"])
    }
}

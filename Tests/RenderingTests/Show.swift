import Rendering
import Testing

@Test func show() {
    for (format, color, width) in [(TranscriptRenderer.Format.text, true, 76), (.markdown, false, 0)] {
        var renderer = TranscriptRenderer(format: format, color: color, width: width)
        for event in Sample.events { print(renderer.render(event), terminator: "") }
    }
}

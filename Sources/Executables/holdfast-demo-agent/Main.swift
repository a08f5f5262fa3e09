import DemoAgent

@main
struct Main {
    static func main() async { await DemoAgent.main(CommandLine.arguments) }
}

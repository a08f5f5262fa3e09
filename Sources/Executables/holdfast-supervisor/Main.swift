import Supervisor

@main struct Main {
    static func main() async { await SupervisorCommand.main() }
}

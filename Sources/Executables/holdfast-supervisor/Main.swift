import Supervisor

@main struct Main {
    static func main() async { await Supervisor.main() }
}

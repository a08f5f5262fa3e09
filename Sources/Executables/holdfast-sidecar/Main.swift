import ArgumentParser
import Sidecar

@main
struct Main {
    static func main() async { await SidecarCommand.main() }
}

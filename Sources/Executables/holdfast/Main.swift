import Glibc
import Holdfast

@main struct Main {
    static func main() async {
        exit(await Holdfast.run(Array(CommandLine.arguments.dropFirst())))
    }
}

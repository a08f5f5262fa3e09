import ArgumentParser
import CLinux
import Glibc
import Sidecar

/// The first thread only waits. With an asynchronous `main` it would end, which is to unwind its stack, and scripts/sidecar.ld has
/// left out what that needs. (With it, a static file reads and sorts all of it first: 30 ms and 1 MB of every start.)
@main
struct Main {
    static func main() {
        clinux_keep_memory_small()
        Task.detached {
            await SidecarCommand.main()
            exit(0)
        }
        while true { pause() }
    }
}

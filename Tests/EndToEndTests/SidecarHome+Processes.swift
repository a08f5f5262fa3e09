import Processes
import Support

extension SidecarHome {
    /// Living sidecars on this state directory. Their environment has no marker: they are known by their arguments.
    var sidecars: [ProcessEntry] {
        ProcessEntry.all().filter { $0.isAlive && $0.command.contains("serve --state-dir \(state) ") }
    }
}

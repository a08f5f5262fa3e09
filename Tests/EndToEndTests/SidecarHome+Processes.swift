import Processes
import Support

extension SidecarHome {
    /// Living sidecars on this state directory. Their environment has no marker: they are known by their arguments.
    var sidecars: [ProcessEntry] {
        ProcessEntry.all().filter { $0.isAlive && $0.command.contains("serve --state-dir \(state) ") }
    }
}

extension SidecarProcess {
    /// The demonstration agent, while there is one.
    var agent: ProcessEntry? {
        guard let host else { return nil }
        return ProcessEntry.descendants(of: host.pid).first {
            $0.isAlive && $0.parent == host.pid && $0.name == "holdfast-demo-a"
        }
    }
}

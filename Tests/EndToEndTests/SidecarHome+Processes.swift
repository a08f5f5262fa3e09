import Processes
import Support

extension SidecarHome {
    /// Living sidecars on this state directory. Their environment has no marker: they are known by their arguments.
    var sidecars: [ProcessEntry] {
        ProcessEntry.living { $0.contains("serve --state-dir \(state) ") }
    }
}

extension ProcessEntry {
    /// Living processes whose command fits. A child between fork and exec shows its parent's command and is not counted.
    static func living(_ fits: (String) -> Bool) -> [ProcessEntry] {
        let found = all().filter { $0.isAlive && fits($0.command) }
        let pids = Set(found.map(\.pid))
        return found.filter { !pids.contains($0.parent) }
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

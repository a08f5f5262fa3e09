import Foundation
import Glibc
import Processes
import SessionModel
import Support

/// The files and the address of one pod: directories that stand for its volumes, and what its containers' commands become with them.
struct PodSandbox: Sendable {
    let address: String
    let directory: String
    private let disks: String
    private let pod: JSONValue

    init(_ pod: JSONValue, address: String, directory: String, disks: String) {
        self.pod = pod
        self.address = address
        self.directory = directory
        self.disks = disks
    }

    // MARK: Volumes

    private func path(ofVolume name: String) -> String {
        let volume = pod["spec"]?["volumes"]?.array?.first { $0["name"]?.string == name }
        // A claim's disk outlives the pods.
        if let claim = volume?["persistentVolumeClaim"]?["claimName"]?.string { return "\(disks)/\(claim)" }
        return "\(directory)/\(name)"
    }

    /// Makes the volumes.
    /// - Returns: what they are made from and what is not there yet, in the kubelet's words; nil when all is.
    func mount(from double: KubernetesDouble) -> String? {
        let namespace = pod["metadata"]?["namespace"]?.string ?? ""
        for volume in pod["spec"]?["volumes"]?.array ?? [] {
            guard let name = volume["name"]?.string else { continue }
            let path = path(ofVolume: name)
            if let claim = volume["persistentVolumeClaim"]?["claimName"]?.string {
                guard double.with({ $0.named("persistentvolumeclaims", namespace, claim) }) != nil else {
                    return "persistentvolumeclaim \"\(claim)\" not found"
                }
            }
            try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            guard let secret = volume["secret"]?["secretName"]?.string else { continue }
            guard let object = double.with({ $0.named("secrets", namespace, secret) }) else {
                return "MountVolume.SetUp failed for volume \"\(name)\" : secret \"\(secret)\" not found"
            }
            let items = volume["secret"]?["items"]?.array
            for (key, value) in object["data"]?.object ?? [:] {
                let item = items?.first { $0["key"]?.string == key }
                guard let file = items == nil ? key : item?["path"]?.string else { continue }
                let bytes = value.string.flatMap { Data(base64Encoded: $0) } ?? Data()
                let text = translate(String(decoding: bytes, as: UTF8.self), for: nil)
                try? text.write(toFile: "\(path)/\(file)", atomically: true, encoding: .utf8)
            }
        }
        for mount in mounts(of: nil) {
            try? FileManager.default.createDirectory(atPath: mount.path, withIntermediateDirectories: true)
        }
        return nil
    }

    /// Where things are mounted and what stands for them, the container's own before those of the others: the sidecar speaks of paths
    /// in the agent's container.
    private func mounts(of container: JSONValue?) -> [(at: String, path: String)] {
        let spec = pod["spec"]
        let all = (spec?["initContainers"]?.array ?? []) + (spec?["containers"]?.array ?? [])
        var found: [String: String] = [:]
        for container in [container].compactMap(\.self) + all {
            for mount in container["volumeMounts"]?.array ?? [] {
                guard let at = mount["mountPath"]?.string, let name = mount["name"]?.string, found[at] == nil else { continue }
                found[at] = path(ofVolume: name) + (mount["subPath"]?.string.map { "/\($0)" } ?? "")
            }
        }
        return found.sorted { $0.key.utf8.count > $1.key.utf8.count }.map { ($0.key, $0.value) }
    }

    // MARK: Commands

    /// Starts a container's command.
    /// - Parameter isProbe: what it prints is not the container's.
    func start(_ container: JSONValue, isProbe: Bool = false) throws -> Int32 {
        var environment = ["PATH": "\(Self.products):/usr/local/bin:/usr/bin:/bin", "HOME": directory, "LANG": "C.UTF-8"]
        // Where an image's commands look for the sidecar when nobody says where it is.
        environment["HOLDFAST_SOCKET"] = translate("/run/holdfast/sidecar.sock", for: container)
        for variable in container["env"]?.array ?? [] {
            guard let name = variable["name"]?.string else { continue }
            let field = variable["valueFrom"]?["fieldRef"]?["fieldPath"]?.string
            environment[name] = field == "status.podIP" ? address : translate(variable["value"]?.string ?? "", for: container)
        }
        let words = (container["command"]?.array ?? []) + (container["args"]?.array ?? [])
        let arguments = words.compactMap(\.string).map { word in
            var word = word
            for (name, value) in environment { word = word.replacingOccurrences(of: "$(\(name))", with: value) }
            return translate(word, for: container)
        }
        var spawn = Spawn(arguments, environment: environment, directory: directory)
        spawn.grouping = .group
        let log = open(
            isProbe ? "/dev/null" : logFile(container["name"]?.string ?? ""), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        defer { close(log) }
        spawn.descriptors = [nil, log, log]
        return try spawn.start()
    }

    private static let products = Products.path("holdfast-sidecar").split(separator: "/").dropLast().map { "/\($0)" }.joined()

    /// A text with the directories that stand for what is mounted, this user in place of the agent's, and the build's own binary in
    /// place of the sidecar image's.
    private func translate(_ text: String, for container: JSONValue?) -> String {
        if text == "61100" { return "\(getuid())" }
        if text == "/holdfast-sidecar" { return Products.path("holdfast-sidecar") }
        var result = ""
        var rest = Substring(text)
        let mounts = mounts(of: container)
        var isBoundary = true
        while !rest.isEmpty {
            let mount =
                isBoundary
                ? mounts.first { mount in
                    guard rest.hasPrefix(mount.at) else { return false }
                    let next = rest.dropFirst(mount.at.count).first
                    return next == nil || next == "/" || next == "\"" || next == ":"
                } : nil
            if let mount {
                result += mount.path
                rest = rest.dropFirst(mount.at.count)
                isBoundary = false
                continue
            }
            let character = rest.removeFirst()
            result.append(character)
            isBoundary = "=\"[: ".contains(character)
        }
        return result
    }

    // MARK: Logs

    private func logFile(_ container: String) -> String { "\(directory)/\(container).log" }

    func lastWords(of container: String) -> String {
        let text = (try? String(contentsOfFile: logFile(container), encoding: .utf8)) ?? ""
        return String(text.suffix(2048))
    }

    /// What all containers have printed.
    var log: String {
        let names = (pod["spec"]?["initContainers"]?.array ?? []) + (pod["spec"]?["containers"]?.array ?? [])
        return names.compactMap { $0["name"]?.string }.map { "--- \($0)\n\(lastWords(of: $0))" }.joined(separator: "\n")
    }
}

import Kubernetes
import Logging
import SessionModel

/// Reader pods: one for a session without a living epoch, made when somebody wants to read its transcript, and gone after a few minutes
/// or when the session wakes.
extension KubernetesRuntime {
    /// How long a caller waits for one.
    private static let readerPatience = Duration.seconds(45)

    /// - Throws: `Problem` that says what keeps it from starting.
    func reader(of session: SessionResource) async throws -> SidecarClient {
        let deadline = ContinuousClock.now + Self.readerPatience
        var pod = try await livingReader(of: session)
        if pod == nil { pod = try await makeReader(of: session) }
        let manifest = readerManifest(session, name: pod?.metadata.name ?? "")
        var trouble: String?
        while let current = pod, ContinuousClock.now < deadline {
            let seen = watch.observe(current)
            if case .running(let address, _) = seen.state, let sidecar = self.client(of: manifest, at: address),
                (try? await sidecar.isReady()) == true
            {
                return sidecar
            }
            trouble = seen.trouble?.message
            if case .ended(let how) = seen.state { throw Self.unread(session, how) }
            try await Task.sleep(for: .milliseconds(200))
            pod = try await get(manifest.name, .pods)
        }
        throw Self.unread(session, pod == nil ? "its reader pod was removed" : trouble ?? "its reader pod is still starting")
    }

    private static func unread(_ session: SessionResource, _ why: String) -> Problem {
        Problem(
            .notReady,
            "Session \(session.spec.key) is \(session.status.phase.rawValue), and its transcript is on its volume: \(why).",
            retryAfter: 5)
    }

    private func readers(of session: SessionResource) async throws -> [GenericObject] {
        try await objects(.pods).list(Selector(labels: "\(PodLabels.session)=\(session.metadata.name),\(PodLabels.reader)"))
            .items.filter { $0.belongs(to: session) }
    }

    private func livingReader(of session: SessionResource) async throws -> GenericObject? {
        for pod in try await readers(of: session) {
            if case .ended = watch.observe(pod).state {
                await delete(pod.metadata.name ?? "", uid: pod.metadata.uid ?? "", grace: .zero)
            } else if pod.metadata.deletionTimestamp == nil {
                return pod
            }
        }
        return nil
    }

    private func makeReader(of session: SessionResource) async throws -> GenericObject? {
        let suffix = String(Timestamp.now.milliseconds, radix: 36)
        let manifest = readerManifest(
            session, name: SessionPod.readerName(session: session.metadata.name, suffix: suffix))
        guard let wanted = manifest.readerPod() else { return nil }
        let pod = try await make(wanted, .pods, of: session)
        try await giveSecret(to: pod, manifest)
        // Whoever starts an epoch writes that down first, and then ends all readers; so one of the two sees the other.
        let sessions: Objects<SessionObject> = client.objects(.sessions, as: SessionObject.self, in: namespace)
        let now = try await sessions.get(session.metadata.name).status?.phase
        guard now == session.status.phase else {
            await delete(manifest.name, uid: pod.metadata.uid ?? "", grace: .zero)
            throw Problem(.notReady, "Session \(session.spec.key) is waking.", retryAfter: 2)
        }
        return pod
    }

    /// Before an epoch starts: the volume may be one that a single pod can have.
    func endReaders(of session: SessionResource) async throws {
        let deadline = ContinuousClock.now + .seconds(10)
        while case let left = try await readers(of: session), !left.isEmpty, ContinuousClock.now < deadline {
            for pod in left where pod.metadata.deletionTimestamp == nil {
                await delete(pod.metadata.name ?? "", uid: pod.metadata.uid ?? "", grace: .seconds(1))
            }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    /// Those whose time is up.
    func removeOldReaders() async {
        do throws(KubernetesError) {
            for pod in try await objects(.pods).list(Selector(labels: PodLabels.reader)).items {
                guard case .ended = watch.observe(pod).state else { continue }
                try await objects(.pods).delete(pod.metadata.name ?? "", uid: pod.metadata.uid)
            }
        } catch {
            guard error.code != .cancelled, error.code != .notFound, error.code != .conflict else { return }
            logger.warning("old reader pods could not be removed; it is tried again", metadata: ["error": "\(error)"])
        }
    }

    private func readerManifest(_ session: SessionResource, name: String) -> SessionPod {
        SessionPod(session, reader: name, namespace: namespace, settings: settings)
    }
}

import Foundation
import GitGateway
import Kubernetes
import Logging
import SessionModel

/// Runs each epoch of a session in a pod of its own, and keeps its volume in between.
///
/// Everything that is made has a name that follows from the session and the epoch: whoever makes it again, after a lost answer or
/// after another supervisor has died over it, finds it and goes on from there.
final class KubernetesRuntime: Runtime {
    let client: KubernetesClient
    let namespace: String
    let settings: SessionPod.Settings
    private let authority: @Sendable () -> Authority?
    let watch: PodWatch
    let logger: Logger

    /// - Parameters:
    ///   - client: the leader's, fenced.
    ///   - authority: nil until it is known.
    init(
        _ client: KubernetesClient, namespace: String, settings: SessionPod.Settings,
        authority: @escaping @Sendable () -> Authority?, watch: PodWatch, logger: Logger
    ) {
        self.client = client
        self.namespace = namespace
        self.settings = settings
        self.authority = authority
        self.watch = watch
        self.logger = logger
    }

    var runsPods: Bool { true }

    func objects(_ type: ResourceType) -> Objects<GenericObject> { client.objects(type, in: namespace) }

    private func manifest(_ session: SessionResource, _ epoch: UInt32) -> SessionPod {
        var pod = SessionPod(session, epoch: epoch, namespace: namespace, settings: settings)
        if pod.usesGateway { pod.gitCredentialDigest = authority().map { GitGrant.digest($0.gitCredential(for: pod)) } }
        return pod
    }

    // MARK: Starting and finding

    func start(_ session: SessionResource, epoch: UInt32) async throws -> any Incarnation {
        do { return try await make(session, epoch: epoch) } catch let error as KubernetesError where error.isTransient {
            // The API server's troubles are none of the session's.
            throw StartPostponed(why: "the API server does not do what is asked: \(error.message)")
        }
    }

    private func make(_ session: SessionResource, epoch: UInt32) async throws -> PodIncarnation {
        try await endOthers(session, epoch)
        try await endReaders(of: session)
        let manifest = manifest(session, epoch)
        let claim: GenericObject?
        var pod: GenericObject
        do { (claim, pod) = (try manifest.claim(), try manifest.pod()) } catch {
            throw StartRefused(why: "its pod cannot be made as its worker asks: \(error)")
        }
        if let claim { try await make(claim, .volumeClaims, of: session) }
        // It holds the object until it is known how the epoch has ended, so that it does not vanish when somebody deletes it by force
        // from a node that only does not answer.
        pod.metadata.finalizers = [Finalizer.epoch]
        return try await attend(to: try await make(pod, .pods, of: session), manifest)
    }

    /// Makes sure that no pod of another epoch is left beside the one that is to start.
    private func endOthers(_ session: SessionResource, _ epoch: UInt32) async throws {
        let pods = try await objects(.pods).list(Selector(labels: "\(PodLabels.session)=\(session.metadata.name)")).items
        for pod in pods where pod.belongs(to: session) && pod.metadata.labels?[PodLabels.reader] == nil {
            let (name, uid) = (pod.metadata.name ?? "", pod.metadata.uid ?? "")
            guard let other = pod.metadata.labels?[PodLabels.epoch].flatMap({ UInt32($0) }), other != epoch else { continue }
            if case .ended = watch.observe(pod).state {
                await release(name, uid: uid)
            } else if other > epoch {
                throw RuntimeError("epoch \(other) runs already, in pod \(name)")
            } else {
                await delete(name, uid: uid, grace: SessionMachine.stopGrace)
                throw StartPostponed(why: "pod \(name) of epoch \(other) is still ending")
            }
        }
    }

    func find(_ session: SessionResource, epoch: UInt32) async throws -> FoundIncarnation {
        let manifest = manifest(session, epoch)
        // It is only taken away when it is known how it has ended. So one that is not there was never made.
        guard let pod = try await get(manifest.name, .pods), pod.belongs(to: session) else { return .neverStarted }
        switch watch.observe(pod).state {
        case .ended:
            await release(manifest.name, uid: pod.metadata.uid ?? "")
            return .ended
        case .unknown(let why): return .unknown(why)
        case .starting, .running: return .alive(try await attend(to: pod, manifest))
        }
    }

    func endStrays(_ session: @Sendable (_ name: String) async throws -> SessionResource?) async throws {
        for pod in watch.all {
            guard let name = pod.metadata.labels?[PodLabels.session],
                let epoch = pod.metadata.labels?[PodLabels.epoch].flatMap({ UInt32($0) }), let uid = pod.metadata.uid
            else { continue }
            func owns(_ session: SessionResource?) -> Bool {
                session.map { $0.status.owns(epoch: epoch) && pod.belongs(to: $0) } ?? false
            }
            // What this supervisor knows may be older than the pod; what the API server says now is not.
            guard try await !owns(session(name)), try await !owns(stored(name)) else { continue }
            if case .ended = watch.observe(pod).state {
                await release(pod.metadata.name ?? "", uid: uid)
            } else {
                logger.warning("a pod is no session's: it is deleted", metadata: ["pod": "\(pod.metadata.name ?? "")"])
                await delete(pod.metadata.name ?? "", uid: uid, grace: SessionMachine.stopGrace)
            }
        }
    }

    private func stored(_ session: String) async throws(KubernetesError) -> SessionResource? {
        do throws(KubernetesError) {
            return try await client.objects(.sessions, as: SessionObject.self, in: namespace).get(session).document
        } catch {
            guard error.code == .notFound else { throw error }
            return nil
        }
    }

    /// Makes an object of a session, or finds it made.
    @discardableResult
    func make(_ object: GenericObject, _ type: ResourceType, of session: SessionResource) async throws -> GenericObject {
        do throws(KubernetesError) {
            return try await objects(type).create(object)
        } catch {
            if error.isRefusal {
                throw StartRefused(
                    why:
                        "the API server refuses its \(type.kind): \(error.message). What a session's pod is made of follows from its worker: end this session, and let a Task with a mended worker make the next one"
                )
            }
            if error.isOverQuota {
                throw StartPostponed(
                    why:
                        "the namespace's quota leaves no room for its \(type.kind): \(error.message). It is tried again by itself: raise that ResourceQuota, or let other sessions sleep",
                    pause: .seconds(15))
            }
            // The answer may have been lost.
            guard error.code == .alreadyExists || error.code == .unreachable else { throw error }
            let name = object.metadata.name ?? ""
            guard let known = try await get(name, type) else { throw error }
            guard known.belongs(to: session) else {
                throw RuntimeError(
                    "\(type.kind) \(name) belongs to someone else, or to an earlier session of this name; it goes on when that is gone"
                )
            }
            guard known.metadata.deletionTimestamp == nil else {
                throw StartPostponed(why: "\(type.kind) \(name) is being deleted; it goes on when that is done")
            }
            return known
        }
    }

    /// Gives a pod the Secret that it waits for, and follows it.
    private func attend(to pod: GenericObject, _ manifest: SessionPod) async throws -> PodIncarnation {
        try await giveSecret(to: pod, manifest)
        let incarnation = PodIncarnation(manifest, uid: pod.metadata.uid ?? "", runtime: self)
        watch.add(incarnation)
        return incarnation
    }

    func giveSecret(to pod: GenericObject, _ manifest: SessionPod) async throws {
        do throws(KubernetesError) {
            let credentials: EpochCredentials
            guard let authority = authority() else {
                throw KubernetesError(.configuration, "the supervisor's authority is not known yet")
            }
            do { credentials = try authority.credentials(for: manifest) } catch {
                throw KubernetesError(.configuration, "no certificate could be made for \(manifest.name): \(error)")
            }
            let secret: GenericObject
            do { secret = try manifest.secret(credentials, pod: pod.metadata) } catch {
                throw KubernetesError(.badRequest, "the Secret of \(manifest.name) cannot be written: \(error)")
            }
            try await objects(.secrets).create(secret)
        } catch {
            // Made before: the token in it is the same, and its certificate has the same name and authority.
            guard error.code == .alreadyExists else { throw error }
        }
    }

    func get(_ name: String, _ type: ResourceType) async throws(KubernetesError) -> GenericObject? {
        do throws(KubernetesError) {
            return try await objects(type).get(name)
        } catch {
            guard error.code == .notFound else { throw error }
            return nil
        }
    }

    // MARK: Stopping

    /// Asks for the pod's deletion: the kubelet ends the agent's container first, then the sidecar.
    func stop(_ incarnation: PodIncarnation, grace: TimeSpan) async {
        await delete(incarnation.name, uid: incarnation.uid, grace: grace)
    }

    func delete(_ name: String, uid: String, grace: TimeSpan) async {
        do throws(KubernetesError) {
            try await objects(.pods).delete(name, uid: uid, gracePeriodSeconds: Int((grace.milliseconds + 999) / 1000))
        } catch {
            // Another one of the name is none of this epoch's, and one that is gone needs no deletion.
            guard error.code != .notFound, error.code != .conflict else { return }
            logger.warning(
                "a pod could not be deleted; it is tried again", metadata: ["pod": "\(name)", "error": "\(error)"])
        }
    }

    /// It is known how it has ended: its object may go.
    func ended(_ incarnation: PodIncarnation) {
        watch.remove(incarnation)
        Task { await release(incarnation.name, uid: incarnation.uid) }
    }

    private func release(_ name: String, uid: String) async {
        do throws(KubernetesError) {
            guard var pod = try await get(name, .pods), pod.metadata.uid == uid else { return }
            pod.metadata.finalizers = pod.metadata.finalizers?.filter { $0 != Finalizer.epoch }
            pod = try await objects(.pods).replace(pod)
            guard !pod.metadata.isGone else { return }
            try await objects(.pods).delete(name, uid: uid)
        } catch {
            // What is left is found and released when the next epoch starts or the supervisor does.
            guard error.code != .notFound, error.code != .cancelled else { return }
            logger.warning("an ended pod could not be released", metadata: ["pod": "\(name)", "error": "\(error)"])
        }
    }

    // MARK: While it lives

    func mark(_ incarnation: PodIncarnation, isSafeToEvict: Bool) async {
        let change: JSONValue = [
            "metadata": ["uid": .string(incarnation.uid), "annotations": [PodLabels.safeToEvict: .string("\(isSafeToEvict)")]]
        ]
        do throws(KubernetesError) { try await objects(.pods).patch(incarnation.name, change) } catch {
            guard error.code != .notFound, error.code != .conflict, error.code != .cancelled else { return }
            logger.warning("a pod's annotation could not be set", metadata: ["pod": "\(incarnation.name)", "error": "\(error)"])
        }
    }

    /// The API of a pod's sidecar.
    func client(of manifest: SessionPod, at address: String) -> SidecarClient? {
        guard let authority = authority() else { return nil }
        let host = address.contains(":") ? "[\(address)]" : address
        return SidecarClient(
            .https(
                url: "https://\(host):\(SessionPod.port)", token: authority.token(for: manifest),
                tls: authority.tls(for: manifest)))
    }

    /// The API of a session's living sidecar, for any replica; nil when it has none.
    func client(of session: SessionResource) -> SidecarClient? {
        let manifest = manifest(session, session.status.epoch)
        guard let pod = watch.pod(named: manifest.name), pod.belongs(to: session),
            case .running(let address, _) = watch.observe(pod).state
        else { return nil }
        return client(of: manifest, at: address)
    }

    // MARK: What is left of a session

    func transcript(of session: SessionResource) async throws -> TranscriptSource? {
        let (key, phase) = (session.spec.key, session.status.phase)
        guard session.status.epoch > 0 else { return nil }
        switch phase {
        case .suspended, .failed, .ended:
            guard manifest(session, session.status.epoch).claimName != nil else {
                throw Problem(
                    .notFound, "Session \(key) is \(phase.rawValue), and its transcript went with its pod (storage: EmptyDir).")
            }
            return .reader(try await reader(of: session))
        case .pending, .starting, .ready, .draining:
            throw Problem(.notReady, "Session \(key) is \(phase.rawValue), and its sidecar does not answer yet.", retryAfter: 2)
        }
    }

    /// Its volume goes with it, and its archive was that.
    func discard(_ session: SessionResource) -> (@Sendable () async throws -> Void)? {
        guard let claim = manifest(session, session.status.epoch).claimName else { return nil }
        let claims = objects(.volumeClaims)
        return {
            do throws(KubernetesError) { try await claims.delete(claim) } catch {
                guard error.code == .notFound else { throw error }
            }
        }
    }

    /// The claims of sessions whose names others have taken have no owner any more. Each is kept for its session's `archiveTTL` from
    /// when it is first seen so.
    func removeOldArchives(at now: Timestamp) async {
        await removeOldReaders()
        let claims = objects(.volumeClaims)
        do throws(KubernetesError) {
            for claim in try await claims.list(Selector(labels: PodLabels.claims)).items {
                let metadata = claim.metadata
                guard metadata.ownerReferences?.isEmpty ?? true, metadata.deletionTimestamp == nil, let name = metadata.name,
                    let uid = metadata.uid
                else { continue }
                let annotations = metadata.annotations ?? [:]
                guard let since = annotations[PodLabels.archivedAt].flatMap({ Timestamp($0) }) else {
                    let mark: JSONValue = [
                        "metadata": ["uid": .string(uid), "annotations": [PodLabels.archivedAt: .string(now.description)]]
                    ]
                    try await claims.patch(name, mark)
                    continue
                }
                let kept =
                    annotations[PodLabels.archiveTTL].flatMap { try? TimeSpan(parsing: $0) } ?? Lifetime().resolved.archiveTTL
                if since + kept <= now { try await claims.delete(name, uid: uid) }
            }
        } catch {
            guard error.code != .cancelled else { return }
            logger.warning("old volume claims could not be looked through; it is tried again", metadata: ["error": "\(error)"])
        }
    }
}

/// Why a session's pod could not be made, as a sentence that says what to do.
struct RuntimeError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

extension GenericObject {
    func belongs(to session: SessionResource) -> Bool {
        metadata.ownerReferences?.contains { $0.uid == session.metadata.uid } ?? false
    }
}

import Foundation
import GitGateway
import Kubernetes
import SessionModel

/// What sessions may do through the git gateway, asked from the API server at every request: the Session says which repository and
/// which refs, its pod how it proves itself, and a Secret of its namespace has the forge's token.
struct ClusterGrants: Sendable {
    let client: KubernetesClient
    /// Nil when sessions come with their namespaces, as a ``QualifiedName``.
    let namespace: String?

    /// A grant is good as long as its session is awake, and for the pod of its present epoch only.
    func grant(_ name: String) async throws(KubernetesError) -> GitGrant? {
        guard let place = namespace.map({ QualifiedName(namespace: $0, name: name) }) ?? QualifiedName(name) else { return nil }
        let (namespace, name) = (place.namespace, place.name)
        // They come from outside and become a path.
        guard Identity.isName(namespace), Identity.isName(name), let session = try await session(name, in: namespace),
            session.isAwake,
            let secret = session.spec.workspace?.credentials?.secretRef,
            let repository = session.spec.workspaceDescription.repository
        else { return nil }
        let pods: Objects<GenericObject> = client.objects(.pods, in: namespace)
        guard
            let pod = try await found({ () throws(KubernetesError) in
                try await pods.get(SessionPod.name(session: name, epoch: session.status.epoch))
            }), pod.belongs(to: session), let digest = pod.metadata.annotations?[PodLabels.gitCredential]
        else { return nil }
        return GitGrant(
            session: session.spec.key, repository: repository, credentialDigest: digest,
            tokenSecret: GitGrant.Secret(namespace: namespace, name: secret.name), push: session.spec.pushRules)
    }

    func token(of grant: GitGrant) async throws(TokenError) -> String {
        guard let place = grant.tokenSecret else { throw TokenError("the grant of \(grant.session) names no Secret") }
        let (namespace, name) = (place.namespace, place.name)
        let secrets: Objects<GenericObject> = client.objects(.secrets, in: namespace)
        let secret: GenericObject
        do throws(KubernetesError) { secret = try await secrets.get(name) } catch {
            throw TokenError("the Secret \(name) of namespace \(namespace) cannot be read: \(error.message)")
        }
        let key = WorkspaceCredentials.tokenKey
        guard let data = secret["data"]?[key]?.string.flatMap({ Data(base64Encoded: $0) }) else {
            throw TokenError("the Secret \(name) of namespace \(namespace) has no key \(key)")
        }
        return try GitGrant.token(in: data, from: "the key \(key) of the Secret \(name)")
    }

    private func session(_ name: String, in namespace: String) async throws(KubernetesError) -> SessionResource? {
        let sessions = client.objects(.sessions, as: SessionObject.self, in: namespace)
        return try await found { () throws(KubernetesError) in try await sessions.get(name) }?.document
    }

    private func found<Object>(
        _ get: () async throws(KubernetesError) -> Object
    ) async throws(KubernetesError) -> Object? {
        do throws(KubernetesError) {
            return try await get()
        } catch {
            guard error.code == .notFound else { throw error }
            return nil
        }
    }
}

extension SessionResource {
    /// Something of it may be running.
    var isAwake: Bool {
        switch status.phase {
        case .starting, .ready, .draining: true
        case .pending, .suspended, .ended, .failed: false
        }
    }
}

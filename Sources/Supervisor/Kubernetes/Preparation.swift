import Kubernetes
import Logging
import SessionModel

/// What must be there before a supervisor can lead: an API server that answers and knows our types, the namespaces, and the
/// supervisor's own authority. What is missing is said once, and looked for until it is there.
struct Preparation {
    let client: KubernetesClient
    /// The API server, for people.
    let server: String
    /// The supervisor's own namespace, where its Secret and its Lease are.
    let own: String
    /// Where the Tasks and Sessions are; nil where namespaces come and go.
    let sessions: String?
    /// Whether it needs Spawners.
    let hearsForge: Bool
    /// The host of the git gateway's URL; nil where there is none.
    let gatewayHost: String?
    let logger: Logger
    var backoff = Backoff(base: .seconds(1), limit: .seconds(15))

    /// - Returns: the authority; nil when the task was cancelled.
    func run() async -> Authority? {
        var backoff = backoff
        var random = SystemRandomNumberGenerator()
        var said: String?
        while !Task.isCancelled {
            let missing: Missing
            do throws(Missing) {
                let authority = try await look()
                if said != nil { logger.notice("what was missing is there") }
                return authority
            } catch {
                missing = error
            }
            if missing.sentence != said, !Task.isCancelled {
                said = missing.sentence
                logger.error("not ready to work; trying again until it is", metadata: ["missing": "\(missing.sentence)"])
            }
            try? await Task.sleep(for: backoff.next(atLeast: missing.retryAfter, using: &random))
        }
        return nil
    }

    /// What is not there, as a sentence that says what to do.
    private struct Missing: Error {
        var sentence: String
        var retryAfter = Duration.zero

        init(_ sentence: String) { self.sentence = sentence }

        init(_ error: KubernetesError, while doing: String) {
            sentence = "\(doing): \(error.message)\(error.advice)"
            retryAfter = error.retryAfter ?? .zero
        }
    }

    private func look() async throws(Missing) -> Authority {
        for type in [ResourceType.tasks, .sessions] + (hearsForge ? [.spawners] : []) {
            let isKnown: Bool
            do throws(KubernetesError) { isKnown = try await client.has(type) } catch {
                throw Missing(error, while: "the API server could not be asked for its types")
            }
            guard isKnown else {
                throw Missing("\(server) does not know \(type.qualifiedName) yet: kubectl apply -k deploy/crds")
            }
        }
        for namespace in Set([own, sessions ?? own]).sorted() where await isMissing(namespace) {
            throw Missing(
                "there is no namespace \(namespace): kubectl create namespace \(namespace), or name another one with --namespace")
        }
        let authority: Authority
        do throws(KubernetesError) { authority = try await self.authority() } catch {
            throw Missing(error, while: "the Secret \(Authority.secretName) of namespace \(own) could not be read or made")
        }
        if let gatewayHost {
            do throws(KubernetesError) { try await prepareGateway(authority, gatewayHost) } catch {
                throw Missing(error, while: "the Secret \(Authority.gatewaySecretName) of namespace \(own) could not be made")
            }
        }
        return authority
    }

    /// Makes the Secret that the git gateway starts with; one that another authority has made, or for another host, is replaced.
    private func prepareGateway(_ authority: Authority, _ host: String) async throws(KubernetesError) {
        let secrets: Objects<GenericObject> = client.objects(.secrets, in: own)
        var secret: GenericObject
        do { secret = try authority.gatewaySecret(namespace: own, host: host) } catch {
            throw KubernetesError(.configuration, "no certificate could be made for \(host): \(error)")
        }
        do throws(KubernetesError) {
            try await secrets.create(secret)
        } catch {
            guard error.code == .alreadyExists else { throw error }
            let known = try await secrets.get(Authority.gatewaySecretName)
            guard !authority.isGatewaySecret(known, host: host) else { return }
            secret.metadata.resourceVersion = known.metadata.resourceVersion
            try await secrets.replace(secret)
            logger.notice("the git gateway has a new certificate: restart it", metadata: ["host": "\(host)"])
        }
    }

    /// Whoever may not ask finds out when it makes something there.
    private func isMissing(_ namespace: String) async -> Bool {
        do throws(KubernetesError) {
            _ = try await client.objects(.namespaces).get(namespace)
            return false
        } catch {
            return error.code == .notFound
        }
    }

    /// The authority of this supervisor's Secret, which is made if there is none.
    private func authority() async throws(KubernetesError) -> Authority {
        let secrets: Objects<GenericObject> = client.objects(.secrets, in: own)
        while true {
            do throws(KubernetesError) {
                return try use(try await secrets.get(Authority.secretName))
            } catch {
                guard error.code == .notFound else { throw error }
            }
            do throws(KubernetesError) {
                let made: Authority
                do { made = try Authority() } catch {
                    throw KubernetesError(.configuration, "no authority could be made: \(error)")
                }
                try await secrets.create(made.secret(namespace: own))
                return made
            } catch {
                // Another replica was faster.
                guard error.code == .alreadyExists else { throw error }
            }
        }
    }

    private func use(_ secret: GenericObject) throws(KubernetesError) -> Authority {
        do { return try Authority(secret) } catch { throw KubernetesError(.configuration, "\(error)") }
    }
}

extension KubernetesError {
    /// What the operator of a supervisor can do about it, after a semicolon; empty when that is nothing.
    var advice: String {
        switch code {
        case .forbidden:
            "; give the supervisor the rights of deploy/base/rights.yaml, or in a labelled namespace those of deploy/namespace"
        case .unauthorized: "; its credentials are not accepted"
        default: ""
        }
    }
}

import Crypto
import Curl
import Foundation
import GitGateway
import Kubernetes
import SessionModel
import SwiftASN1
import X509

/// What sidecars and the supervisor know each other by: the supervisor's own certificate authority, which signs one certificate for
/// every epoch of every session and is all that its clients trust; and the key that every epoch's bearer token follows from.
///
/// All of it is in one Secret of the supervisor's namespace. So a supervisor needs to read no Secret of the sessions' namespaces, and
/// another replica knows the tokens of sidecars that it did not start.
struct Authority: Sendable {
    /// PEM.
    let certificate: String
    private let name: DistinguishedName
    private let key: P256.Signing.PrivateKey
    private let notAfter: Date
    private let tokenKey: SymmetricKey

    /// A new one, for ten years.
    init(at now: Date = .now) throws {
        key = P256.Signing.PrivateKey()
        name = try DistinguishedName { CommonName("Holdfast sessions \(Identity.uid().prefix(8))") }
        notAfter = now + 10 * 365 * 86_400
        let (name, key) = (name, key)
        certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey), notValidBefore: now - Self.skew,
            notValidAfter: notAfter, issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true))
            }, issuerPrivateKey: .init(key)
        ).serializeAsPEM().pemString
        tokenKey = SymmetricKey(size: .bits256)
    }

    /// Clocks differ.
    private static let skew: TimeInterval = 3600

    // MARK: Its Secret

    static let secretName = "holdfast-authority"

    /// - Throws: ``LocalError`` when the Secret holds something else.
    init(_ secret: GenericObject) throws(LocalError) {
        func file(_ name: String) throws(LocalError) -> Data {
            guard let data = secret["data"]?[name]?.string.flatMap({ Data(base64Encoded: $0) }), !data.isEmpty else {
                throw LocalError("the Secret \(Self.secretName) has no \(name); delete it, and the supervisor makes a new one")
            }
            return data
        }
        certificate = String(decoding: try file("tls.crt"), as: UTF8.self)
        tokenKey = SymmetricKey(data: try file("token.key"))
        do {
            key = try P256.Signing.PrivateKey(pemRepresentation: String(decoding: try file("tls.key"), as: UTF8.self))
            let own = try Certificate(pemEncoded: certificate)
            guard own.publicKey == .init(key.publicKey) else { throw LocalError("its key is another one's") }
            name = own.subject
            notAfter = own.notValidAfter
        } catch {
            throw LocalError(
                "the Secret \(Self.secretName) cannot be used: \(error); delete it, and the supervisor makes a new one")
        }
    }

    func secret(namespace: String) -> GenericObject {
        let files = [
            "tls.crt": Data(certificate.utf8), "tls.key": Data(key.pemRepresentation.utf8),
            "token.key": tokenKey.withUnsafeBytes { Data($0) },
        ]
        return GenericObject(
            .secrets,
            metadata: ObjectMeta(
                name: Self.secretName, namespace: namespace, labels: ["app.kubernetes.io/managed-by": "holdfast"]),
            members: ["type": "kubernetes.io/tls", "data": .object(files.mapValues { .string($0.base64EncodedString()) })])
    }

    /// 256 bits that nobody can tell who has not the authority's Secret, or the one that they were given to.
    private func token(_ purpose: String) -> String {
        HMAC<SHA256>.authenticationCode(for: Data(purpose.utf8), using: tokenKey)
            .map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    /// A new key, and a certificate for it.
    private func identity(_ commonName: String, _ names: [GeneralName], at now: Date) throws -> (certificate: String, key: String)
    {
        let own = P256.Signing.PrivateKey()
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: .init(own.publicKey), notValidBefore: now - Self.skew,
            notValidAfter: notAfter, issuer: name,
            subject: try DistinguishedName { CommonName(commonName) }, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames(names)
            }, issuerPrivateKey: .init(key))
        return (try certificate.serializeAsPEM().pemString, own.pemRepresentation)
    }

    // MARK: An epoch

    /// The bearer token of an epoch's sidecar.
    func token(for pod: SessionPod) -> String { token("\(pod.session.metadata.uid)/\(pod.serverName)") }

    /// What an epoch shows to the git gateway.
    func gitCredential(for pod: SessionPod) -> String { token("git/\(pod.session.metadata.uid)/\(pod.serverName)") }

    /// The tokens, and a new certificate.
    func credentials(for pod: SessionPod, at now: Date = .now) throws -> EpochCredentials {
        // A common name has at most 64 characters, which the pod's may not fit in.
        let own = try identity("holdfast-sidecar", [.dnsName(pod.serverName)], at: now)
        return EpochCredentials(
            token: token(for: pod), certificate: own.certificate, key: own.key, git: gateway(for: pod))
    }

    private func gateway(for pod: SessionPod) -> EpochCredentials.Gateway? {
        guard pod.usesGateway, let url = pod.settings.gitGateway,
            let repository = pod.session.spec.workspaceDescription.repository
        else { return nil }
        return EpochCredentials.Gateway(
            configuration: GitGrant.configuration(
                repository: repository, gateway: url, name: pod.gatewayName, credential: gitCredential(for: pod),
                authority: url.hasPrefix("https://") ? SessionPod.gatewayAuthorityFile : nil), authority: certificate)
    }

    /// How a client makes sure that it talks with this epoch's sidecar, whoever has its address now.
    func tls(for pod: SessionPod) -> CurlTLS {
        var tls = CurlTLS()
        tls.authorities = .pem(Array(certificate.utf8))
        tls.serverName = pod.serverName
        return tls
    }
}

// MARK: - The git gateway

extension Authority {
    static let gatewaySecretName = "holdfast-git-gateway"
    /// An annotation: what its certificate is for.
    private static let gatewayHostAnnotation = "holdfast.dev/host"

    /// What the gateway shows to the supervisor.
    var gatewayToken: String { token("git gateway") }

    /// What a gateway of its own needs: its certificate, and its token.
    /// - Parameter host: of its URL: a name, or an address of IPv4.
    func gatewaySecret(namespace: String, host: String, at now: Date = .now) throws -> GenericObject {
        let octets = host.split(separator: ".", omittingEmptySubsequences: false).compactMap { UInt8($0) }
        let name: GeneralName = octets.count == 4 ? .ipAddress(ASN1OctetString(contentBytes: octets[...])) : .dnsName(host)
        let own = try identity("holdfast-git-gateway", [name], at: now)
        let files = ["tls.crt": own.certificate, "tls.key": own.key, "token": gatewayToken]
        return GenericObject(
            .secrets,
            metadata: ObjectMeta(
                name: Self.gatewaySecretName, namespace: namespace, labels: ["app.kubernetes.io/managed-by": "holdfast"],
                annotations: [Self.gatewayHostAnnotation: host]),
            members: [
                "type": "kubernetes.io/tls",
                "data": .object(files.mapValues { .string(Data($0.utf8).base64EncodedString()) }),
            ])
    }

    /// Whether a Secret is one that this authority has made for this host.
    func isGatewaySecret(_ secret: GenericObject, host: String) -> Bool {
        secret["data"]?["token"]?.string == Data(gatewayToken.utf8).base64EncodedString()
            && secret.metadata.annotations?[Self.gatewayHostAnnotation] == host
    }
}

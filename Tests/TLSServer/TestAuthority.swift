import Crypto
import Foundation
import SwiftASN1
import X509

/// A certificate authority for one test, and what it signs.
public struct TestAuthority: Sendable {
    /// A certificate and its key, as PEM text.
    public struct Identity: Sendable {
        public let certificate: String
        public let key: String
    }

    private let key: P256.Signing.PrivateKey
    private let name: DistinguishedName
    /// What to trust, as PEM text.
    public let certificate: String

    public init(_ commonName: String = "test authority") throws {
        key = P256.Signing.PrivateKey()
        name = try DistinguishedName { CommonName(commonName) }
        certificate = try Self.sign(name, key.publicKey, by: name, key) {
            Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
            Critical(KeyUsage(keyCertSign: true))
        }
    }

    /// For a server on loopback, or by these names.
    public func server(names: [String] = ["localhost"]) throws -> Identity {
        let own = P256.Signing.PrivateKey()
        let subject = try DistinguishedName { CommonName("server") }
        let certificate = try Self.sign(subject, own.publicKey, by: name, key) {
            Critical(BasicConstraints.notCertificateAuthority)
            SubjectAlternativeNames(
                names.map { .dnsName($0) } + [.ipAddress(ASN1OctetString(contentBytes: [127, 0, 0, 1]))])
        }
        return Identity(certificate: certificate, key: own.pemRepresentation)
    }

    /// For a client of this name.
    public func client(_ commonName: String) throws -> Identity {
        let own = P256.Signing.PrivateKey()
        let certificate = try Self.sign(try DistinguishedName { CommonName(commonName) }, own.publicKey, by: name, key) {
            Critical(BasicConstraints.notCertificateAuthority)
        }
        return Identity(certificate: certificate, key: own.pemRepresentation)
    }

    private static func sign(
        _ subject: DistinguishedName, _ publicKey: P256.Signing.PublicKey, by issuer: DistinguishedName,
        _ issuerKey: P256.Signing.PrivateKey,
        @ExtensionsBuilder _ extensions: () throws -> Result<Certificate.Extensions, any Error>
    ) throws -> String {
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: .init(publicKey),
            notValidBefore: Date.now - 3600, notValidAfter: Date.now + 24 * 3600, issuer: issuer, subject: subject,
            signatureAlgorithm: .ecdsaWithSHA256, extensions: try Certificate.Extensions(builder: extensions),
            issuerPrivateKey: .init(issuerKey))
        return try certificate.serializeAsPEM().pemString
    }
}

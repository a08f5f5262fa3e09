import NIOSSL
public import SessionModel

/// The certificate that a server shows, and its private key.
public struct TLSIdentity: Sendable {
    let configuration: TLSConfiguration

    /// - Parameters:
    ///   - certificate: a PEM file: the certificate, and those of intermediate authorities behind it.
    ///   - key: a PEM file.
    /// - Throws: `Problem`, in words for an operator.
    public init(certificate: String, key: String) throws(Problem) {
        let chain: [NIOSSLCertificate]
        let own: NIOSSLPrivateKey
        do { chain = try NIOSSLCertificate.fromPEMFile(certificate) } catch {
            throw Problem(.invalidRequest, "The certificate \(certificate) cannot be read: \(error).")
        }
        do { own = try NIOSSLPrivateKey(file: key, format: .pem) } catch {
            throw Problem(.invalidRequest, "The private key \(key) cannot be read: \(error).")
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(own))
        configuration.minimumTLSVersion = .tlsv13
        configuration.applicationProtocols = ["http/1.1"]
        do { _ = try NIOSSLContext(configuration: configuration) } catch {
            throw Problem(.invalidRequest, "The certificate \(certificate) and the key \(key) do not fit together: \(error).")
        }
        self.configuration = configuration
    }
}

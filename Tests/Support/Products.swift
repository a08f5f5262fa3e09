import Glibc

/// The executables that were built together with the tests.
public enum Products {
    /// The path of an executable product, next to the test bundle in the build folder.
    public static func path(_ name: String) -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        let executable = String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folder = executable.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        let path = "\(folder)/\(name)"
        precondition(access(path, X_OK) == 0, "\(path) is missing: build it with swift build --build-tests")
        return path
    }
}

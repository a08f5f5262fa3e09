// swift-tools-version: 6.2
import PackageDescription

// One module per folder, and dependencies point one way (docs/architecture.md draws the graph).
// The sidecar's graph is FoundationEssentials only: one `import Foundation` in it costs 44 MB.

let settings: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
    ] + (Context.environment["CI"] == "true" ? [.treatAllWarnings(as: .error)] : [])

/// The simulation runs millions of steps of these machines in every `make test`, which a debug build would take an hour for.
let optimized = settings + [.unsafeFlags(["-O"], .when(configuration: .debug))]

/// Release builds of the sidecar run in any image and in none. What keeps them small: code that is there twice is there once, and
/// the tables by which stacks are unwound are left out (4 MB), because nothing here throws as C++ does.
let oneStaticFile: [LinkerSetting] = [
    .unsafeFlags(
        ["-static-executable", "-use-ld=lld"]
            + [
                "--gc-sections", "--icf=all", "-O2", "--no-eh-frame-hdr", "-T",
                "\(Context.packageDirectory)/scripts/sidecar.ld",
            ].flatMap { ["-Xlinker", $0] },
        .when(configuration: .release))
]

let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let nio = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioLocks = Target.Dependency.product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdTLS = Target.Dependency.product(name: "HummingbirdTLS", package: "hummingbird")
let hummingbirdCore = Target.Dependency.product(name: "HummingbirdCore", package: "hummingbird")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let mustache = Target.Dependency.product(name: "Mustache", package: "swift-mustache")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioHTTP2 = Target.Dependency.product(name: "NIOHTTP2", package: "swift-nio-http2")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")

func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func executable(_ name: String, _ dependencies: [Target.Dependency], linker: [LinkerSetting] = []) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies, path: "Sources/Executables/\(name)", swiftSettings: settings,
        linkerSettings: linker)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: dependencies + ["Support"], swiftSettings: settings)
}

let package = Package(
    name: "holdfast",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "holdfast-sidecar", targets: ["holdfast-sidecar"]),
        .executable(name: "holdfast-supervisor", targets: ["holdfast-supervisor"]),
        .executable(name: "holdfast-demo-agent", targets: ["holdfast-demo-agent"]),
        .executable(name: "holdfast", targets: ["holdfast"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.0.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0", traits: []),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // Leaves.
        .target(name: "CLinux"),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .target(name: "SessionModel", dependencies: [crypto], swiftSettings: optimized),
        library("Rendering", ["SessionModel"]),
        library("Processes", ["CLinux"]),

        // The sidecar, from the disk up.
        library("Journal", ["SessionModel", "CLinux", crypto, nioLocks]),
        library("AgentHost", ["SessionModel", "Processes", "CLinux", nio, nioPosix, nioLocks, logging]),
        library("Agents", ["SessionModel", "AgentHost", nioLocks, logging]),
        library("Workspace", ["SessionModel", "AgentHost", logging]),
        library(
            "HTTPServing",
            [
                "SessionModel", "CLinux", hummingbird, hummingbirdCore, hummingbirdTLS, httpTypes, nio, nioPosix, nioSSL,
                nioLocks,
                logging,
            ]),
        library("TranscriptServing", ["SessionModel", "Journal", "HTTPServing", hummingbird, nio]),
        library(
            "Sidecar",
            [
                "SessionModel", "Rendering", "Journal", "AgentHost", "Agents", "Workspace", "HTTPServing",
                "TranscriptServing", "Processes", "CLinux", arguments,
                hummingbird,
                httpTypes, nio, nioPosix, nioLocks, logging, lifecycle,
            ]),

        // The supervisor and the command line.
        library("Curl", ["CCurl", "CLinux", nioLocks]),
        library("GitHub", ["SessionModel", "Curl", crypto, mustache, nioLocks]),
        library(
            "GitGateway",
            ["SessionModel", "HTTPServing", "Curl", crypto, hummingbird, httpTypes, nio, nioLocks, logging]),
        library("Kubernetes", ["SessionModel", "Curl", "Processes", yams, nioLocks, logging]),
        .target(
            name: "Supervisor",
            dependencies: [
                "SessionModel", "Journal", "HTTPServing", "TranscriptServing", "Curl", "GitGateway", "GitHub", "Kubernetes",
                "Processes",
                arguments,
                crypto, grdb,
                hummingbird, httpTypes,
                nio,
                nioLocks, logging, lifecycle, asn1, x509,
            ],
            // holdfast-bench-sessions measures its parts as they are released.
            swiftSettings: settings + [.unsafeFlags(["-enable-testing"], .when(configuration: .release))]),
        library("Holdfast", ["SessionModel", "Rendering", "Curl", "Processes", arguments, nioLocks, yams]),

        // An honest demonstration agent, for `make run` and the tests.
        library("DemoAgent", ["SessionModel", "CLinux"]),

        executable("holdfast-sidecar", ["CLinux", "Sidecar", arguments], linker: oneStaticFile),
        executable("holdfast-supervisor", ["Supervisor"]),
        executable("holdfast-demo-agent", ["DemoAgent"]),
        executable("holdfast", ["Holdfast"]),
        executable("holdfast-bench", ["Journal", "Processes", "SessionModel"]),
        // Reaches into the supervisor as its tests do.
        executable(
            "holdfast-bench-sessions",
            [
                "Supervisor", "SessionModel", "Curl", "Processes", "Kubernetes", "KubernetesDouble", "TLSServer", nioLocks,
                logging,
            ]),

        // Tests, one target per source target, and their doubles in Tests/Support.
        .target(
            name: "Support", dependencies: ["Seeds", "SessionModel", "AgentHost", "Processes", "Curl", "CLinux", nioLocks, yams],
            path: "Tests/Support",
            swiftSettings: settings),
        .target(
            name: "TLSServer",
            dependencies: ["Support", crypto, x509, asn1, nio, nioPosix, nioHTTP1, nioHTTP2, nioTLS, nioSSL, nioLocks],
            path: "Tests/TLSServer", swiftSettings: settings),
        .target(
            name: "KubernetesDouble", dependencies: ["TLSServer", "Support", "Processes", "SessionModel", nioLocks],
            path: "Tests/KubernetesDouble", swiftSettings: settings),
        .target(name: "Seeds", path: "Tests/Seeds", swiftSettings: optimized),
        // The machines of SessionModel in a simulated world: `make simulate`.
        .target(name: "Simulation", dependencies: ["Seeds", "SessionModel"], path: "Tests/Simulation", swiftSettings: optimized),
        executable("holdfast-simulate", ["Simulation"]),
        tests("Simulation", ["Simulation"]),
        tests("SessionModel", ["SessionModel"]),
        tests("Rendering", ["Rendering", "SessionModel"]),
        tests("Processes", ["Processes"]),
        tests("Journal", ["Journal", "SessionModel"]),
        tests("AgentHost", ["AgentHost", "Processes", "SessionModel", logging, nio]),
        tests("Agents", ["Agents", "AgentHost", "Processes", "SessionModel", logging]),
        tests("Workspace", ["Workspace", "AgentHost", "SessionModel"]),
        tests("Sidecar", ["Sidecar", "SessionModel", "Journal", "AgentHost", "HTTPServing", "Processes", "Curl", logging]),
        tests("Curl", ["Curl", "TLSServer", nioLocks]),
        tests("HTTPServing", ["HTTPServing", "Curl", httpTypes, logging]),
        tests("GitHub", ["GitHub", "SessionModel", "Curl", nioLocks]),
        tests("GitGateway", ["GitGateway", "HTTPServing", "SessionModel", "Curl", nioLocks, logging]),
        .testTarget(
            name: "KubernetesTests",
            dependencies: ["Kubernetes", "KubernetesDouble", "TLSServer", "SessionModel", "Curl", "Support", yams, nioLocks],
            exclude: ["Fixtures", "Schemas", "Pods/Golden"], swiftSettings: settings),
        tests(
            "Supervisor",
            [
                "Supervisor", "GitHub", "SessionModel", "Curl", "HTTPServing", "Processes", "Kubernetes", "KubernetesDouble",
                "TLSServer",
                hummingbird, httpTypes, nioLocks, logging, asn1, x509, grdb,
            ]),
        tests("Holdfast", ["Holdfast", "Rendering", "SessionModel", "Curl", "Processes", arguments, nioLocks]),
        tests("DemoAgent", ["DemoAgent", "SessionModel"]),
        tests("EndToEnd", ["GitHub", "SessionModel", "Curl", "Journal", "Processes", nioLocks]),
    ],
    swiftLanguageModes: [.v6]
)

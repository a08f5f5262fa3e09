public import ArgumentParser
public import Logging
public import SessionModel

extension TimeSpan: ExpressibleByArgument {
    public init?(argument: String) {
        guard let span = try? TimeSpan(parsing: argument) else { return nil }
        self = span
    }

    public var defaultValueDescription: String { description }
}

extension WhenBusy: ExpressibleByArgument {}

extension OnInterrupt: ExpressibleByArgument {}

extension Logger.Level: @retroactive ExpressibleByArgument {}

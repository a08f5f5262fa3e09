public import ArgumentParser
public import SessionModel

extension TimeSpan: ExpressibleByArgument {
    public init?(argument: String) {
        guard let span = try? TimeSpan(parsing: argument) else { return nil }
        self = span
    }

    public var defaultValueDescription: String { description }
}

public import Seeds

public typealias SeededRandom = Seeds.SeededRandom

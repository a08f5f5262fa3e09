@_exported public import Seeds

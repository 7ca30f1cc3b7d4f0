"""Parameters of constructors: one class for each kind, read from signatures and from JSON Schema."""

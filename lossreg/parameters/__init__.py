"""Parameters: what the constructor of a loss takes, as one schema."""

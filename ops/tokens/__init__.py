"""LiveKit tokens: what each kind may do, making and reading them, and those that were revoked."""

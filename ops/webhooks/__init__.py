"""What LiveKit tells by webhook: checked, freed of what must not be kept, and kept for good."""

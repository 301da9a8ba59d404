"""Settings and personas: read once, checked at once, passed on by section."""

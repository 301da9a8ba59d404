"""The doctor: what was tried, what came back, and what to do."""

"""Synthetic calls that tell whether a caller would be answered."""

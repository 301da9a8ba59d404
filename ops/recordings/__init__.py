"""Recordings: started, followed, kept for their time, deleted, and all of a caller forgotten."""

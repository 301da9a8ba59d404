"""Rooms as LiveKit tells of them: what webhook events mean, and who looks after rooms."""

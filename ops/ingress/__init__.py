"""Ingress: sound and picture from outside into a room, checked before LiveKit is asked."""

"""The front door of `ops serve`: who may come in, how often, and what the sidecars share."""

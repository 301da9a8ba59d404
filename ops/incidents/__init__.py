"""Incidents: opened, escalated until somebody acknowledges them, closed with a report."""

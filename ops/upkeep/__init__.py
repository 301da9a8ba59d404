"""Routines of operators: reports, analysis, audit, cleanup, backup and restore, schedules."""

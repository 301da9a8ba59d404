"""What job processes of simulated calls inherit besides: the stand-in for a LiveKit room."""

from __future__ import annotations

from agent import framework

framework.prepare_simulated_rooms()

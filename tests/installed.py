"""A plugin of pytest: an installation to back up."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.upkeep import sealed
from tests.backups import fill


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation that has had calls."""
    monkeypatch.setattr(sealed, "SCRYPT_N", 1 << 8)  # a guess may be cheap here
    fill(tmp_path)
    monkeypatch.setenv("VOICE_AGENT_CONFIG", str(tmp_path / "etc" / "agent.yaml"))
    return tmp_path

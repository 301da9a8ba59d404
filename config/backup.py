"""The section of backups: where they are kept, for how long, and what they are sealed with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from config.fields import Folder, Section, Whole

SHORTEST_KEY = 16


class Backup(Section):
    """Backups (`python -m ops backup`)."""

    folder: Folder = Field(
        Path("data/backups"), description="Where they are kept: best on another disk."
    )
    key: SecretStr = Field(
        SecretStr(""),
        description="They are encrypted with it, and without it they hold no secrets, transcripts"
        " or recordings. Keep a copy elsewhere: openssl rand -base64 32",
    )
    days: Annotated[Whole, Field(ge=1, le=3650)] = Field(
        30, description="That a backup is kept; the newest of each kind stays in any case."
    )

    @property
    def journal(self) -> Path:
        """What a restore is about to do: it is there while one goes on, or since it was cut off."""
        return self.folder / "restore.journal"

    @field_validator("key")
    @classmethod
    def _long_enough(cls, key: SecretStr) -> SecretStr:
        if 0 < len(key.get_secret_value()) < SHORTEST_KEY:
            raise ValueError(f"shorter than {SHORTEST_KEY} characters: openssl rand -base64 32")
        return key

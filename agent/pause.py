"""Admission stopped for a while by an operator, for the workers of one data folder.

It ends by itself at the time that the file names: whoever stopped it may be killed meanwhile.
"""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

FILE = "admission-paused"
"""In the data folder: the moment of its end, in seconds since 1970."""


class Pause:
    """The pause of one data folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    @property
    def is_on(self) -> bool:
        """Whether calls are not to be let in now."""
        try:
            return time.time() < float(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return False

    def begin(self, seconds: float) -> None:
        """Let no call in for so long. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{FILE}.{uuid4().hex}")
        try:
            draft.write_text(f"{time.time() + seconds:.3f}\n", encoding="ascii")
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)

    def end(self) -> None:
        """Let calls in again. Raises OSError."""
        self._path.unlink(missing_ok=True)

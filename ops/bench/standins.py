"""The stand-ins for the providers, which live with the tests: a checkout has them."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from agent.errors import StartError
from config.settings import ROOT


def load(name: str = "tests.providers") -> Any:
    """A module of the stand-ins. Raises StartError where there is no checkout."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise StartError(
            f"the bench needs a checkout with the stand-ins in tests/providers ({error.name} is"
            f" missing in {ROOT}): run it there, after `make call`"
        ) from error

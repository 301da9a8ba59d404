"""What automatic recovery does: the steps of `python -m ops recover`, in a process of their own.

A step may restart `ops serve` itself, and what looks at everything loads everything: neither is
for the process that tells people of the incident.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from typing import Any

from agent.store.incidents import Incident

REFUSED = 2
"""The exit code with which a command says in a line why it does nothing."""

LONGEST = 300
"""Characters of that line that are kept."""

COMMAND = (sys.executable, "-m", "ops", "recover", "--json")


async def recover(incident: Incident) -> str:
    """Take the steps until one heals: what was done, or why nothing, in a line. Raises OSError."""
    del incident  # whatever its kind, what is ill is found by looking
    process = await asyncio.create_subprocess_exec(
        *COMMAND, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    try:
        out, refusal = await process.communicate()
    finally:
        # Cancelled, since it took too long or we end: what runs now is not waited for.
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if process.returncode == REFUSED:
        return f"not possible: {refusal.decode(errors='replace').strip()[-LONGEST:]}"
    return summary(json.loads(out))


def summary(told: dict[str, Any]) -> str:
    """The outcome of `recover` (`Outcome.told`) in a line."""
    if not told["before"]:
        return "nothing was ill"
    taken = [f"{one['step']} {one['outcome']}" for one in told["steps"]]
    end = f"healed by {told['healed_by']}" if told["well"] else "something is ill still"
    return f"{', '.join(taken)}: {end}"

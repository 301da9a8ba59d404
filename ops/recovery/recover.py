"""A recovery: the steps in order, each followed by a look at what was ill, until all is well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agent import log
from agent.errors import VoiceAgentError
from config.settings import Settings
from ops.recovery.calls import StillCalls
from ops.recovery.journal import Journal, alone
from ops.recovery.manager import CommandFailed
from ops.recovery.situation import Checks, ill, look
from ops.recovery.steps import Failed, Scene, Skipped, Step

logger = log.get(__name__)

AGAIN = 1.0
"""Seconds between two looks after a step."""


@dataclass(frozen=True, slots=True)
class Done:
    """One step that was tried. `outcome`: done, skipped or failed; `ill`: what is ill after it."""

    step: str
    outcome: str
    told: str
    commands: list[str]
    ill: list[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a recovery ended. `before` and `after`: what was ill, with what came back."""

    before: dict[str, str]
    after: dict[str, str]
    steps: list[Done]
    healed_by: str
    journal: str

    @property
    def is_well(self) -> bool:
        """Whether nothing is ill now."""
        return not self.after

    def told(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "well": self.is_well}


async def recover(
    settings: Settings,
    steps: Sequence[Step],
    *,
    is_asked: bool = False,
    hear: Callable[[Done], None] = lambda _: None,
) -> Outcome:
    """Take the steps in order until what is ill is well; none, where nothing is ill.

    `is_asked`: the operator named the step, which is taken whether anything is ill or not. `hear`
    is told of each step. Raises RecoveryRefused.
    """
    with alone(settings.data.folder):
        checks: Checks = await look(settings)
        before = _told(checks)
        if not before and not is_asked:
            return Outcome({}, {}, [], "", "")
        journal, done, healed_by = Journal(settings), [], ""
        journal.note(ill=before)
        try:
            for step in steps:
                one, checks = await _take(step, Scene(settings, checks, is_asked), journal)
                done.append(one)
                hear(one)
                if not one.ill and before:
                    healed_by = step.name
                    break
        finally:
            journal.note(healed=healed_by or None, still_ill=_told(checks))
            await journal.close()
        return Outcome(before, _told(checks), done, healed_by, str(journal.path))


async def _take(step: Step, scene: Scene, journal: Journal) -> tuple[Done, Checks]:
    """One step, and how it stands after it."""
    await journal.step({"step": step.name, "outcome": "begun", "told": "", "commands": []})
    try:
        told, outcome = await step.run(scene), "done"
    except Skipped as why:
        told, outcome = str(why), "skipped"
    except (Failed, CommandFailed, StillCalls) as why:
        told, outcome = str(why), "failed"
    except (VoiceAgentError, OSError) as error:
        # The boundary of a step: the next may be the one that heals.
        logger.warning("a step of recovery broke", step=step.name, error=str(error))
        told, outcome = f"{type(error).__name__}: {error}", "failed"
    patience = 0.0
    if outcome == "done":
        patience = scene.settings.recovery.within if scene.is_restarted else step.patience
    checks = scene.checks if outcome == "skipped" else await _patiently(scene.settings, patience)
    commands = [" ".join(command) for command in scene.commands]
    one = Done(step.name, outcome, told, commands, ill(checks))
    await journal.step(asdict(one))
    return one, checks


async def _patiently(settings: Settings, patience: float) -> Checks:
    """Look until all is well, for so many seconds at most."""
    until = time.monotonic() + patience
    while True:
        checks = await look(settings)
        if not ill(checks) or time.monotonic() >= until:
            return checks
        await asyncio.sleep(AGAIN)


def _told(checks: Checks) -> dict[str, str]:
    return {name: checks[name].detail for name in ill(checks)}

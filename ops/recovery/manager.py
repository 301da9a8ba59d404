"""Services through whoever runs them: systemd, Docker Compose or Kubernetes.

Each command is a list of arguments, never a shell's line. What is ended on a timeout is the
command that we started, never a service.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Sequence
from dataclasses import dataclass

from agent.errors import VoiceAgentError
from config.recovery import Recovery

Command = list[str]

SERVICES = ("serve", "worker", "redis")
"""What may be restarted, by its name in the section `recovery`. Whatever carries calls' sound
(LiveKit, its SIP service) is not: that would end them."""

LONGEST = 2.0
"""Of `recovery.within`, for one command."""

LONGEST_TOLD = 300
"""Letters of what a command said that are repeated."""


class CommandFailed(VoiceAgentError):
    """The manager did not do what was asked of it."""


@dataclass(frozen=True, slots=True)
class Manager:
    """The manager that the settings name."""

    section: Recovery

    def restart(self, service: str) -> list[Command]:
        """The commands that restart one of SERVICES; none where it is not configured."""
        name = self.name_of(service)
        seconds = f"{self.section.within:.0f}"
        if not name:
            return []
        match self.section.manager:
            case "systemd":
                return [["systemctl", "--no-ask-password", "restart", name]]
            case "compose":
                return [[*self._compose(), "restart", "--timeout", seconds, name]]
            case "kubernetes":
                kubectl = self._kubectl()
                return [
                    [*kubectl, "rollout", "restart", name],
                    [*kubectl, "rollout", "status", name, f"--timeout={seconds}s"],
                ]
            case _:
                return []

    def reread(self) -> list[Command]:
        """The commands that let the manager read its own files anew."""
        if self.section.manager == "systemd":
            return [["systemctl", "--no-ask-password", "daemon-reload"]]
        return []

    def name_of(self, service: str) -> str:
        """What the manager calls it; empty: not ours to restart."""
        return str(getattr(self.section, service)) if self.section.manager != "none" else ""

    async def run(self, commands: Sequence[Command]) -> None:
        """Run them one after the other. Raises CommandFailed at the first that fails."""
        for command in commands:
            await _run(command, LONGEST * self.section.within)

    def _compose(self) -> Command:
        file = self.section.compose_file
        return ["docker", "compose", *(["--file", str(file)] if file else [])]

    def _kubectl(self) -> Command:
        namespace = self.section.namespace
        return ["kubectl", *(["--namespace", namespace] if namespace else [])]


async def _run(command: Command, within: float) -> None:
    said = " ".join(command)
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
        )
    except OSError as error:
        raise CommandFailed(f"{command[0]}: cannot be run: {error.strerror}") from None
    try:
        async with asyncio.timeout(within):
            output, _ = await process.communicate()
    except TimeoutError:
        raise CommandFailed(f"{said}: no end within {within:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
    if process.returncode:
        told = " ".join(output.decode(errors="replace").split())[:LONGEST_TOLD]
        raise CommandFailed(f"{said}: exit code {process.returncode}: {told}".rstrip(": "))

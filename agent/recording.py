"""Recording of one call as its persona wants it: never in the way of the call.

LiveKit's egress is asked from here, in the background, so that it works while `ops serve` is away
(decision 24). To start it twice would make two files: before each attempt the room's egresses are
listed, and one that is ours already is taken.
"""

from __future__ import annotations

import asyncio
from typing import Any

from livekit import api
from livekit.agents import AgentSession

from agent import egress, log, tasks
from agent.call import EndReason, RecordingStatus
from agent.egress import Kind, Output, Wanted
from agent.egress_start import running, started
from agent.ending import Ending
from agent.errors import LiveKitError, RecordingRefused, TargetRefused
from agent.events import RecordingAsked, RecordingChanged, RecordingMade
from agent.livekit import LiveKit
from agent.record import Record
from agent.recorder import CHANNELS, Recorder
from agent.targets import check_url
from config.persona import Persona
from config.settings import Settings

logger = log.get(__name__)

STOP_WITHIN = 2.0
"""Seconds for egress to be told that a call which goes on elsewhere is no longer recorded."""


class CallRecording:
    """What is recorded of one call. Every method returns at once, but for `aclose`."""

    def __init__(
        self,
        persona: Persona,
        settings: Settings,
        record: Record,
        session: AgentSession[Any],
        ending: Ending,
        livekit: LiveKit | None,
    ) -> None:
        """`livekit` is asked for egress; None: there is no room to be recorded."""
        section = settings.recording
        is_wanted = persona.recording != "never"
        by_worker = is_wanted and (livekit is None or section.by in {"worker", "both"})
        self._is_at_once = persona.recording == "always"
        self._by_egress = is_wanted and livekit is not None and section.by in {"egress", "both"}
        self.recorder = Recorder(session) if by_worker else None
        self._livekit, self._section = livekit, section
        self._folder = settings.data.folder / "recordings"
        if section.storage.kind == "local":
            self._folder = section.storage.folder
        self._persona, self._record, self._ending = persona.name, record, ending
        self._own, self._of_room = f"{record.call.id}-own", f"{record.call.id}-room"
        self._tasks: list[asyncio.Task[None]] = []
        self._egress_id = ""
        self._begun = self._is_asking = False

    def answered(self) -> None:
        """The call was answered."""
        if self._is_at_once:
            self._begin()

    def agreed(self) -> None:
        """The caller heard to its end that the call is recorded, and stayed."""
        if not self._is_at_once:
            self._begin()

    async def aclose(self) -> None:
        """Finish what is recorded here. What egress records ends with the room."""
        await tasks.end(*self._tasks)
        if self._is_asking:
            self._failed(self._of_room, "the call ended first", is_alert=False)
        if self.recorder is not None:
            await self._finish(self.recorder)
        may_run = self._egress_id or self._is_asking
        if may_run and self._ending.reason is EndReason.TRANSFERRED:
            await self._stop_egress()

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        if self.recorder is not None:
            self._tasks.append(tasks.spawn(self._record_here(self.recorder), "recorder-start"))
        if self._by_egress:
            self._tasks.append(tasks.spawn(self._have_egress(), "egress-start"))

    async def _record_here(self, recorder: Recorder) -> None:
        path = self._folder / egress.name_of(self._own, Output.OGG)
        self._asked(self._own, "worker", Kind.ROOM_AUDIO, Output.OGG, path.as_uri())
        try:
            await recorder.start(path)
        except OSError as error:
            self._failed(self._own, error.strerror or str(error))

    async def _finish(self, recorder: Recorder) -> None:
        try:
            made = await recorder.stop()
        except OSError as error:
            self._failed(self._own, error.strerror or str(error))
            return
        if made is not None:
            path, seconds = made
            self._record.tell(
                RecordingMade,
                uri=path.as_uri(),
                channels=CHANNELS,
                duration=round(seconds, 2),
                recording=self._own,
                size=path.stat().st_size,
            )

    async def _have_egress(self) -> None:
        """Ask until there is an egress, for at most `starts_within` seconds."""
        kind, output = Kind(self._section.kind), Output(self._section.output)
        wanted = Wanted(id=self._of_room, kind=kind, output=output, room=self._record.call.room)
        uri = egress.uri_of(wanted.id, output, self._section.storage)
        self._asked(wanted.id, "egress", kind, output, uri)
        assert self._livekit is not None
        self._is_asking = True
        until = asyncio.get_running_loop().time() + self._section.starts_within
        try:
            await _check_store(self._section)
            message = egress.request(wanted, self._section.storage)
            self._egress_id = await started(self._livekit, wanted, message, until)
        except (RecordingRefused, TargetRefused) as refused:
            self._failed(wanted.id, str(refused))
        except LiveKitError as error:
            self._failed(wanted.id, str(error))
        else:
            self._record.tell(
                RecordingChanged,
                recording=wanted.id,
                status=RecordingStatus.STARTING.value,
                egress_id=self._egress_id,
            )
        self._is_asking = False

    async def _stop_egress(self) -> None:
        """The caller goes on talking to somebody else, whom nobody told of a recording."""
        assert self._livekit is not None
        wanted = Wanted(id=self._of_room, room=self._record.call.room)
        try:
            async with asyncio.timeout(STOP_WITHIN):
                # One that was asked for, and did not answer before the end, may run all the same.
                egress_id = self._egress_id or await running(self._livekit, wanted)
                if egress_id:
                    request = api.StopEgressRequest(egress_id=egress_id)
                    await self._livekit.egress.stop_egress(request)
        except (LiveKitError, TimeoutError) as error:
            logger.error(
                "a recording goes on after a transfer",
                alert="recording",
                error=type(error).__name__,
            )

    def _asked(self, recording: str, by: str, kind: Kind, output: Output, uri: str) -> None:
        self._record.tell(
            RecordingAsked,
            recording=recording,
            by=by,
            what=kind.value,
            output=output.value,
            persona=self._persona,
            room=self._record.call.room,
            room_sid=self._record.call.room_sid,
            uri=uri,
        )

    def _failed(self, recording: str, why: str, *, is_alert: bool = True) -> None:
        if is_alert:
            logger.error("a call is not recorded", alert="recording", recording=recording, why=why)
        self._record.tell(
            RecordingChanged, recording=recording, status=RecordingStatus.FAILED.value, error=why
        )


async def _check_store(section: Any) -> None:
    """The store that egress is to write to may be reached: its host is listed by being set."""
    if endpoint := section.storage.endpoint:
        host = endpoint.partition("://")[2].partition(":")[0].lower()
        await check_url(endpoint, section.targets, {"https", "http"}, known=[host])

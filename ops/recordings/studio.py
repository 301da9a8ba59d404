"""The recordings of an installation: start, stop, follow, delete, and what a sweep puts right.

Effects are in an order that survives the death of this process between any two of them: a row
before its egress, a wish to delete before the file, the file before the row. The sweep goes on
where something was left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from livekit import api
from livekit.protocol.egress import EgressInfo

from agent import egress, log, metrics
from agent.call import RecordingStatus, now
from agent.egress import UNFINISHED, Kind, Output, Wanted
from agent.egress_start import start
from agent.errors import LiveKitError, ObjectStoreFailed, RecordingUnknown
from agent.livekit import LiveKit
from agent.objects import Objects
from agent.store import CallLog
from agent.store.recordings import RecordingLogRow, Recordings
from agent.targets import Resolve, check_url, resolve
from config.settings import Settings
from ops.front.alerts import Alerts
from ops.recordings.following import row_of

logger = log.get(__name__)

T = TypeVar("T")

SETTLED = timedelta(seconds=60)
"""After the end of a call, before a recording of it that did not end is looked for."""


class Database(Protocol):
    """Where work on the call log runs: `ops.front.database.Database`."""

    def run(self, work: Callable[[CallLog], T]) -> Awaitable[T]: ...  # noqa: D102 - see there


@dataclass(slots=True)
class Swept:
    """What a sweep found: ids of recordings."""

    failed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Those that should be deleted, and could not be."""


@dataclass(slots=True)
class Studio:
    """All methods raise StoreUnavailable; those that ask LiveKit raise LiveKitError."""

    settings: Settings
    database: Database
    livekit: LiveKit
    alerts: Alerts = field(default_factory=Alerts)
    resolving: Resolve = resolve

    async def start(self, wanted: Wanted, who: str, source: str) -> RecordingLogRow:
        """Start a recording, once. Raises RecordingRefused, TargetRefused before anything is done.

        The codec of a single track is found out here, if it was not told.
        """
        section = self.settings.recording
        wanted = await self._complete(wanted)
        message = egress.request(wanted, section.storage)
        await self._check_targets(wanted)
        row = RecordingLogRow(
            id=wanted.id,
            made_by="egress",
            kind=wanted.kind.value,
            output=wanted.output.value,
            room=wanted.room,
            status=RecordingStatus.ASKED.value,
            uri=egress.uri_of(wanted.id, wanted.output, section.storage),
            asked_at=now(),
        )
        if not await self._run(lambda log: Recordings(log.engine).add(row)):
            return await self.get(row.id)  # asked for twice under one id
        await self.audit(who, "start recording", wanted.id, source)
        try:
            egress_id = await start(self.livekit, message)
        except LiveKitError as error:
            # It may have been carried out all the same: the sweep looks for it.
            await self._change(row.id, error=str(error))
            raise
        status = RecordingStatus.STARTING.value
        await self._change(row.id, egress_id=egress_id, status=status)
        return await self.get(row.id)

    async def stop(self, recording: str, who: str, source: str) -> RecordingLogRow:
        """Ask egress to finish. Raises RecordingUnknown; what is over already stays so."""
        row = await self.get(recording)
        if not row.is_over:
            await self.audit(who, "stop recording", row.id, source)
            await self._stop(row)
        return await self.get(recording)

    async def get(self, recording: str) -> RecordingLogRow:
        """One recording. Raises RecordingUnknown."""
        return await self._run(lambda log: Recordings(log.engine).get(recording))

    async def delete(self, recording: str, who: str, source: str) -> bool:
        """Delete file and row; False: as soon as it has ended. Raises ObjectStoreFailed."""
        row = await self.get(recording)
        if row.deleted_at is None:
            await self._change(row.id, deleted_at=now())
            if not row.is_over:
                await self.audit(who, "delete recording, when it has ended", row.id, source)
        if not row.is_over:
            await self._stop(row)
            return False
        await self._remove(row, who, source)
        return True

    async def on_egress(self, info: EgressInfo) -> None:
        """Take over what a webhook `egress_*` tells; in any order, as often as it comes."""
        row, before = await self._run(lambda log: Recordings(log.engine).follow(row_of(info)))
        is_news = before != row.status
        if is_news and row.is_over:
            metrics.RECORDINGS.labels(row.made_by, row.status).inc()
        if is_news and row.status == RecordingStatus.FAILED.value:
            self.alert("a recording failed", row, row.error)
        if row.is_over and row.deleted_at is not None:
            try:
                await self._remove(row, "retention", "ops")
            except ObjectStoreFailed as error:
                logger.warning("a recording is not deleted yet", recording=row.id, why=str(error))

    async def sweep(self, source: str = "ops") -> Swept:
        """Find recordings that failed or never ended, and delete those whose time is over."""
        swept = Swept()
        section = self.settings.recording
        await self._follow_running()
        before = now() - timedelta(seconds=section.starts_within)
        for row in await self._run(lambda log: Recordings(log.engine).unfinished(before)):
            try:
                if await self._settle(row):
                    swept.failed.append(row.id)
            except (LiveKitError, RecordingUnknown) as error:
                # An egress that cannot be stopped keeps no other recording from its deletion.
                logger.warning("a recording is not settled", recording=row.id, why=str(error))
        due = await self._run(
            lambda log: Recordings(log.engine).to_delete(section.days, section.days_by_persona)
        )
        for row in due:
            try:
                done = await self.delete(row.id, "retention", source)
            except (ObjectStoreFailed, LiveKitError, RecordingUnknown) as error:
                self.alert("a recording is not deleted", row, str(error))
                done = False
            (swept.deleted if done else swept.kept).append(row.id)
        return swept

    async def _follow_running(self) -> None:
        """Take over what egress tells of all that run: some may have started without a webhook."""
        if not self.settings.livekit.url:
            return
        try:
            listed = await self.livekit.egress.list_egress(api.ListEgressRequest(active=True))
        except LiveKitError as error:
            logger.debug("egress cannot be asked for what runs", why=str(error))
            return
        for info in listed.items:
            await self.on_egress(info)

    def alert(self, what: str, row: RecordingLogRow, why: str = "") -> None:
        """Somebody should look at this recording."""
        self.alerts.tell("recording", what, subject=row.id, why=why)

    async def audit(self, who: str, what: str, thing: str, source: str) -> None:
        """Say in the audit trail who did what."""
        await self._run(lambda log: log.audit(who, what, thing, source))

    async def _settle(self, row: RecordingLogRow) -> bool:
        """Ask what became of a recording that is not over; whether it has failed."""
        if row.made_by == "worker":
            return await self._settle_own(row)
        try:
            asked = api.ListEgressRequest(egress_id=row.egress_id or "", room_name=row.room)
            if row.egress_id:
                asked = api.ListEgressRequest(egress_id=row.egress_id)
            listed = await self.livekit.egress.list_egress(asked)
        except LiveKitError as error:
            logger.warning("egress cannot be asked", recording=row.id, why=str(error))
            return False
        ours = [i for i in listed.items if row.egress_id or egress.named_in(i) == row.id]
        if ours:
            await self.on_egress(ours[0])
            is_left = await self._is_left_behind(row)
            if is_left and not (await self.get(row.id)).is_over:
                self.alert("a recording never ended", row)
                await self._stop(row)
            return (await self._find(row.id)) == RecordingStatus.FAILED.value
        why = "egress does not know it any more" if row.egress_id else row.error or "never started"
        await self._fail(row, why)
        return True

    async def _settle_own(self, row: RecordingLogRow) -> bool:
        """A worker's own recording whose call has ended: what there is of it is kept."""
        if not await self._is_left_behind(row):
            return False
        path = Path(unquote(urlsplit(row.uri).path))
        unfinished = path.with_name(f"{path.name}{UNFINISHED}")

        def salvage() -> int | None:
            if unfinished.is_file() and unfinished.stat().st_size:
                unfinished.rename(path)
            return path.stat().st_size if path.is_file() else None

        try:
            size = await asyncio.to_thread(salvage)
        except OSError as error:
            logger.warning("a recording cannot be looked for", recording=row.id, why=error.strerror)
            return False
        if size is None:
            await self._fail(row, "never finished, and there is no file")
            return True
        why = "cut short: the job that recorded was killed"
        status = RecordingStatus.COMPLETE.value
        await self._change(row.id, status=status, size=size, error=why, ended_at=now())
        self.alert("a recording was cut short", row)
        return False

    async def _is_left_behind(self, row: RecordingLogRow) -> bool:
        if not row.call_id:
            return False
        call_id = row.call_id
        known = await self._run(lambda log: Recordings(log.engine).ends_of([call_id]))
        if call_id not in known:
            return True  # the caller was forgotten: nothing else will ever tell of this call
        ended = known[call_id]
        return ended is not None and ended < now() - SETTLED

    async def _fail(self, row: RecordingLogRow, why: str) -> None:
        self.alert("a recording failed", row, why)
        status = RecordingStatus.FAILED.value
        metrics.RECORDINGS.labels(row.made_by, status).inc()
        await self._change(row.id, status=status, error=why, ended_at=now())

    async def _stop(self, row: RecordingLogRow) -> None:
        if not row.egress_id:
            return
        request = api.StopEgressRequest(egress_id=row.egress_id)
        info = await self.livekit.egress.stop_egress(request)
        await self._run(lambda log: Recordings(log.engine).follow(row_of(info)))

    async def _remove(self, row: RecordingLogRow, who: str, source: str) -> None:
        section = self.settings.recording
        store = Objects(section.storage, section.targets, self.settings.data.folder / "recordings")
        # A failure may have left something, but where nobody here can look there is no need.
        if row.uri.startswith(("file:", "s3:")) or row.status == RecordingStatus.COMPLETE.value:
            await store.remove(row.uri)
        await self._run(lambda log: Recordings(log.engine).remove(row.id))
        await self.audit(who, "delete recording", row.id, source)

    async def _check_targets(self, wanted: Wanted) -> None:
        section = self.settings.recording
        if wanted.url:
            await check_url(
                wanted.url, section.targets, egress.SCHEMES["web"], resolving=self.resolving
            )
        if wanted.stream:
            await check_url(
                wanted.stream, section.targets, egress.SCHEMES["rtmp"], resolving=self.resolving
            )
        if (endpoint := section.storage.endpoint) and wanted.output is not Output.RTMP:
            host = urlsplit(endpoint).hostname or ""
            schemes = egress.SCHEMES["web"]
            await check_url(
                endpoint, section.targets, schemes, known=[host], resolving=self.resolving
            )

    async def _complete(self, wanted: Wanted) -> Wanted:
        """With the codec of a single track, asked of the room."""
        if wanted.kind is not Kind.TRACK or wanted.codec or not wanted.room:
            return wanted
        asked = api.ListParticipantsRequest(room=wanted.room)
        people = await self.livekit.room.list_participants(asked)
        tracks = [track for one in people.participants for track in one.tracks]
        mime = next((track.mime_type for track in tracks if track.sid == wanted.track), "")
        values = {name: getattr(wanted, name) for name in Wanted.__slots__}
        return Wanted(**{**values, "codec": mime.rpartition("/")[2].lower()})

    async def _find(self, recording: str) -> str:
        try:
            return (await self.get(recording)).status
        except RecordingUnknown:
            return ""

    async def _change(self, recording: str, **values: Any) -> None:
        await self._run(lambda log: Recordings(log.engine).change(recording, **values))

    async def _run(self, work: Callable[[CallLog], T]) -> T:
        return await self.database.run(work)


def new_id() -> str:
    """An id for a recording that is not of one call."""
    return uuid4().hex

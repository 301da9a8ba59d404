"""/incidents and Alertmanager's /alerts; beside the routes, who tells people what is amiss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, HTTPException, Path, Query, Request, Security

from agent.call import now
from agent.errors import IncidentUnknown
from agent.store import CallLog
from agent.store.incidents import Incident
from agent.store.notices import Notices
from ops.front.alerts import Alert
from ops.front.clients import Client, require
from ops.front.plane import Plane
from ops.incidents import healing
from ops.incidents.automatic import Automatic
from ops.incidents.climber import Climber
from ops.incidents.desk import LEASE, Desk, Fired, IncidentRefused
from ops.incidents.report import Report, incident_told
from ops.incidents.wire import (
    AlertIn,
    AlertsIn,
    AlertsOut,
    IncidentIn,
    IncidentOut,
    IncidentsOut,
    NoteIn,
    ReportOut,
    TextIn,
)
from ops.lease import Lease
from ops.notify.channels import channels_of, contacts_of
from ops.notify.message import subject_of, topic_of
from ops.notify.notifier import Notifier
from ops.notify.safe import safe_values

T = TypeVar("T")

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{1,16}$", description="Its id, or the beginning.")]
May = Annotated[Client, Security(require("incidents"))]


class Incidents:
    """The routes, the messages, and the climbing."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        settings = plane.settings
        self._contacts = contacts_of(settings)
        self._section = settings.incidents
        self._lease = Lease(plane.database, LEASE)
        self.automatic = Automatic(
            plane.database, self._contacts, is_on=self._section.automatic_recovery
        )
        self.automatic.register(healing.recover)
        self.notifier = Notifier(
            plane.database,
            channels_of(self._contacts, settings),
            self._contacts,
            settings.notifications,
            self._lease,
            on_alert=self._on_alert if self._section.from_alerts else None,
        )
        self.climber = Climber(plane.database, self._contacts, self._lease, self.automatic)
        self.router = APIRouter(tags=["incidents"])
        add = self.router.add_api_route
        add("/incidents", self._list, methods=["GET"])
        add("/incidents", self._open, methods=["POST"], status_code=201)
        add("/incidents/{incident}", self._show, methods=["GET"])
        add("/incidents/{incident}/ack", self._acknowledge, methods=["POST"])
        add("/incidents/{incident}/notes", self._note, methods=["POST"])
        add("/incidents/{incident}/close", self._close, methods=["POST"])
        add("/alerts", self._alerts, methods=["POST"])

    async def start(self) -> None:
        """Hear of alerts, and look after incidents, from now on."""
        self._plane.alerts.listeners.append(self.notifier.hear)
        self.notifier.start()
        self.climber.start()

    async def aclose(self) -> None:
        """Let another process do so."""
        if self.notifier.hear in self._plane.alerts.listeners:
            self._plane.alerts.listeners.remove(self.notifier.hear)
        await self.climber.aclose()
        await self.automatic.aclose()
        await self.notifier.aclose()
        await self._lease.aclose()

    async def _on_alert(self, alert: Alert) -> str:
        """Open an incident of a critical alert of our own, or say that it is over. See OnAlert."""
        name, subject = alert.name, subject_of(alert)
        if alert.level == "info":
            incident = await self._do(lambda desk: desk.over(name, subject))
        elif alert.level == "critical":
            about = safe_values(alert.about)
            fired = Fired(name=name, subject=subject, text=alert.message, about=about)
            section, level = self._plane.settings.notifications, self._section.alert_level
            topic = topic_of(name, subject)

            def work(desk: Desk) -> Incident | None:
                # The alert's own message tells of the incident, where there is to be one: none
                # when the last one was closed too early, and the alert is told already.
                told = Notices(desk.log.engine)
                announced = not section.alerts or told.is_known(
                    topic, alert.level, now(), section.again_after
                )
                return desk.fired(fired, level, announced=announced)

            incident = await self._do(work)
        else:
            return ""
        return incident.id if incident else ""

    async def _list(
        self,
        client: May,  # noqa: ARG002 - the key is the point
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
        is_open: Annotated[
            bool | None, Query(alias="open", description="Only open ones, or only closed ones.")
        ] = None,
    ) -> IncidentsOut:
        """The newest incidents first."""
        rows = await self._do(lambda desk: desk.store.listed(limit, is_open=is_open))
        return IncidentsOut(incidents=[_out(row) for row in rows])

    async def _open(self, client: May, body: IncidentIn, request: Request) -> IncidentOut:
        """Open an incident: people are told at once, and level by level."""
        return await self._changed(
            client,
            request,
            "open",
            lambda desk, who: desk.open(body.level, body.kind, body.what, who),
        )

    async def _show(
        self,
        client: May,  # noqa: ARG002 - the key is the point
        incident: Id,
    ) -> ReportOut:
        """One incident with its timeline, its times and what is open."""

        def work(desk: Desk) -> Report:
            found = desk.store.get(incident)
            return Report(incident=found, timeline=desk.store.timeline(found.id), at=now())

        return ReportOut(**(await self._do(work)).told())

    async def _acknowledge(
        self, client: May, incident: Id, body: TextIn, request: Request
    ) -> IncidentOut:
        """Somebody looks after it: nobody else is called."""
        return await self._changed(
            client, request, "ack", lambda desk, who: desk.acknowledge(incident, who, body.text)
        )

    async def _note(self, client: May, incident: Id, body: NoteIn, request: Request) -> IncidentOut:
        """Add a line to the timeline."""
        return await self._changed(
            client,
            request,
            "note",
            lambda desk, who: desk.note(incident, who, body.text, body.kind),
        )

    async def _close(
        self, client: May, incident: Id, body: TextIn, request: Request
    ) -> IncidentOut:  # fmt: skip
        """It is over; the text says how."""
        return await self._changed(
            client, request, "close", lambda desk, who: desk.close(incident, who, body.text)
        )

    async def _alerts(
        self,
        client: May,  # noqa: ARG002 - the key is the point
        body: AlertsIn,
    ) -> AlertsOut:
        """Take alerts of an Alertmanager: critical ones open an incident each, until they end."""
        level = self._section.alert_level

        def work(desk: Desk) -> list[str]:
            found = [_told(desk, alert, level) for alert in body.alerts]
            return [incident.id for incident in found if incident]

        ids = await self._do(work) if self._section.from_alerts else []
        return AlertsOut(incidents=list(dict.fromkeys(ids)))

    async def _changed(
        self,
        client: Client,
        request: Request,
        what: str,
        change: Callable[[Desk, str], Incident],
    ) -> IncidentOut:
        source = str(getattr(request.state, "address", ""))

        def work(db: CallLog) -> Incident:
            incident = change(Desk(db, self._contacts), client.name)
            db.audit(f"client {client.name}", f"incident.{what}", incident.id, source)
            return incident

        return _out(await self._run(work))

    async def _do(self, work: Callable[[Desk], T]) -> T:
        return await self._run(lambda db: work(Desk(db, self._contacts)))

    async def _run(self, work: Callable[[CallLog], T]) -> T:
        """On a thread; what cannot be done is an answer."""
        try:
            return await self._plane.database.run(work)
        except IncidentUnknown as error:
            raise HTTPException(404, str(error)) from None
        except IncidentRefused as error:
            raise HTTPException(409, str(error)) from None


def _told(desk: Desk, alert: AlertIn, level: str) -> Incident | None:
    """What an alert of an Alertmanager does; None: nothing."""
    labels = alert.labels
    if labels.get("severity") != "critical":
        return None
    name = labels.get("alertname", "alert")
    others = {key: value for key, value in labels.items() if key not in {"alertname", "severity"}}
    subject = alert.fingerprint or " ".join(f"{key}={others[key]}" for key in sorted(others))
    if alert.status == "resolved":
        return desk.over(name, subject)
    text = alert.annotations.get("summary", "") or alert.annotations.get("description", "")
    fired = Fired(name=name, subject=subject, text=text, about=safe_values(others))
    return desk.fired(fired, level, announced=True)


def _out(incident: Incident) -> IncidentOut:
    told: dict[str, Any] = incident_told(incident)
    return IncidentOut(**told)

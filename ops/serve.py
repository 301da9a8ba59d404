"""`python -m ops serve`: the control plane, one process with small sidecars, each its own switch.

Read `app` first: it mounts what is enabled, and opens and closes it in order.
"""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
import uvicorn
from fastapi import APIRouter, Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware

from agent import log
from agent.errors import StartError
from agent.ledger import Presence
from agent.start import check_restored, check_transport
from config import settings as configuration
from config.control import Serve
from config.errors import nearest
from config.settings import Settings
from ops.front import first_key, heads, listening, logs, problems
from ops.front.clients import require
from ops.front.door import Door
from ops.front.plane import Plane, Sidecar
from ops.sidecars.calls import Calls
from ops.sidecars.canary import Canary
from ops.sidecars.events import Events
from ops.sidecars.health import Health
from ops.sidecars.incidents import Incidents
from ops.sidecars.ingress import Ingress
from ops.sidecars.metrics import Metrics
from ops.sidecars.recording import Recording
from ops.sidecars.tokens import Tokens
from ops.sidecars.webhooks import Webhooks

logger = log.get(__name__)

SIDECARS: Mapping[str, Callable[[Plane], Sidecar]] = {
    "health": Health,
    "metrics": Metrics,
    "tokens": Tokens,
    "recording": Recording,
    "ingress": Ingress,
    "incidents": Incidents,
    "calls": Calls,
    "events": Events,
    "webhooks": Webhooks,
    "canary": Canary,
}
"""In the order in which they start; they end the other way round."""

GRACE = 10
"""Seconds that running requests have to end after SIGTERM."""


def serve(
    *,
    host: Annotated[str, typer.Option(help="Another address than serve.host.")] = "",
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Another port than serve.port; 0: any.")
    ] = None,
    only: Annotated[
        str, typer.Option(metavar="NAME,...", help="Only these of serve.sidecars.")
    ] = "",
    without: Annotated[
        str, typer.Option(metavar="NAME,...", help="All of serve.sidecars but these.")
    ] = "",
    with_key: Annotated[
        bool,
        typer.Option(
            "--first-key",
            help="Where there is no client key yet, make one with all scopes: shown on a terminal,"
            " else written to serve.client_key_file.",
        ),
    ] = False,
) -> None:
    """Serve tokens, webhooks, recordings, ingress, health and metrics over HTTP.

    Ends gracefully on SIGTERM and Ctrl-C. Without a client key (python -m ops clients add) every
    route but the short /health and the signed webhooks answers 503.
    """
    settings = _chosen(configuration.load(), host, port, only, without)
    section = settings.serve
    logs.set_up(settings.log.level)
    listening.check_tls(section)
    check_restored(settings)
    check_transport(settings.livekit.url, allowed=settings.security.allow_insecure_livekit)
    application = app(settings)
    listener = listening.bound(section.host, section.port)
    try:
        listening.warn_when_open(section, section.host)
        if with_key:
            first_key.make(settings)
        _run(application, listener, section)
    finally:
        listener.close()


def app(settings: Settings) -> FastAPI:
    """The application as configured. Raises SettingsError."""
    plane = Plane.of(settings)
    sidecars = {
        name: make(plane) for name, make in SIDECARS.items() if name in settings.serve.sidecars
    }

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            opened.callback(_announced(settings).leave)
            opened.push_async_callback(plane.aclose)
            await plane.start()
            for sidecar in sidecars.values():
                opened.push_async_callback(sidecar.aclose)
                await sidecar.start()
            yield

    application = FastAPI(
        title="Voice AI Agent",
        lifespan=lifespan,
        openapi_url=None,  # closed without credentials, as everything is: below
        telemetry={"tracing": False, "metrics": False, "logs": False},
        responses=problems.ANY,
    )
    application.state.plane, application.state.sidecars = plane, sidecars
    problems.install(application)
    for sidecar in sidecars.values():
        application.include_router(sidecar.router)
    application.include_router(_description(application))
    application.add_middleware(Door, plane=plane)
    if settings.serve.cors_origins:
        application.add_middleware(
            CORSMiddleware,
            allow_origins=settings.serve.cors_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
        )
    return application


def _announced(settings: Settings) -> Presence:
    """Says to a restore that somebody works with this data folder."""
    presence = Presence(settings.data.folder / "run")
    try:
        presence.announce()
    except OSError as error:
        logger.warning("a restore will not see this process", error=error.strerror)
    return presence


def _chosen(settings: Settings, host: str, port: int | None, only: str, without: str) -> Settings:
    """The settings with what the command line says instead. Raises StartError."""
    section = settings.serve
    names = section.sidecars
    for option, text in (("--only", only), ("--without", without)):
        for name in _names(text):
            if name not in SIDECARS:
                near = nearest(name, SIDECARS)
                hint = f"did you mean {near}?" if near else f"there are {', '.join(SIDECARS)}"
                raise StartError(f"{option}: no sidecar {name}: {hint}")
    if only:
        names = tuple(name for name in names if name in _names(only))
    names = tuple(name for name in names if name not in _names(without))
    changes: dict[str, Any] = {"sidecars": names}
    if host:
        changes["host"] = host
    if port is not None:
        changes["port"] = port
    return settings.model_copy(update={"serve": section.model_copy(update=changes)})


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def server_config(application: FastAPI, section: Serve) -> uvicorn.Config:
    """How uvicorn serves `application`."""
    return uvicorn.Config(
        application,
        http=heads.Bounded,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the door reads them, from those that it trusts
        ssl_certfile=section.tls_certificate,
        ssl_keyfile=section.tls_key,
        timeout_graceful_shutdown=GRACE,
    )


def _run(application: FastAPI, listener: socket.socket, section: Serve) -> None:
    server = _Server(server_config(application, section))
    server.told = {
        "url": listening.url_of(listener, section),
        "sidecars": ",".join(name for name in SIDECARS if name in section.sidecars),
    }
    for told in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when all is closed: that is no failure.
        signal.signal(told, _leave)
    server.run(sockets=[listener])
    if not server.started:
        raise StartError("the control plane could not start; the log says why")


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


class _Server(uvicorn.Server):
    """Tells where it listens, once it does."""

    told: Mapping[str, str] = {}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        # A quarter of a million objects of libraries that live as long as we do: looking through
        # them again and again would stop every request for a third of a second.
        gc.collect()
        gc.freeze()
        logger.info("listening", **self.told)


def _description(application: FastAPI) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json", dependencies=[Depends(require())])
    async def openapi() -> dict[str, Any]:
        return application.openapi()

    return router

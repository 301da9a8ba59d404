"""`python -m ops serve`: the control plane, one process with small sidecars, each its own switch.

Read `app` first: it mounts what is enabled, and opens and closes it in order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

import typer
import uvicorn
from fastapi import FastAPI

from agent import log
from config import settings as configuration
from config.settings import Settings
from ops.front.plane import Plane, Sidecar
from ops.sidecars.health import Health

logger = log.get(__name__)

SIDECARS: Mapping[str, Callable[[Plane], Sidecar]] = {"health": Health}
"""In the order in which they start; they end the other way round."""


def serve(
    *,
    host: Annotated[str, typer.Option(help="Another address than serve.host.")] = "",
    port: Annotated[int | None, typer.Option(help="Another port than serve.port.")] = None,
) -> None:
    """Serve tokens, webhooks, recordings, ingress, health and metrics over HTTP."""
    settings = configuration.load()
    section = settings.serve
    uvicorn.run(
        app(settings),
        host=host or section.host,
        port=section.port if port is None else port,
        log_config=None,
        server_header=False,
    )


def app(settings: Settings) -> FastAPI:
    """The application as configured."""
    plane = Plane.of(settings)
    enabled = [make(plane) for name, make in SIDECARS.items() if name in settings.serve.sidecars]

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            opened.push_async_callback(plane.aclose)
            for sidecar in enabled:
                opened.push_async_callback(sidecar.aclose)
                await sidecar.start()
            yield

    application = FastAPI(title="Voice AI Agent", lifespan=lifespan)
    application.state.plane = plane
    for sidecar in enabled:
        application.include_router(sidecar.router)
    return application

"""The section of recovery: who runs our services, and what they are called there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from config.fields import Folder, Seconds, Section

Managed = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9@._:/-]*)?$")]
"""A name as a manager takes it in its arguments: never something that it would read as an option.
Empty: that service is not restarted by us."""


class Recovery(Section):
    """What `python -m ops recover` may restart, and how long it waits."""

    manager: Literal["none", "systemd", "compose", "kubernetes"] = Field(
        "none", description="Who runs the services; none: nothing is restarted."
    )
    worker: Managed = Field(
        "", description="voice-worker.service, a compose service, or deployment/voice-worker."
    )
    serve: Managed = Field("", description="The same of `ops serve`.")
    redis: Managed = Field("", description="The same of our Redis: restarted last.")
    compose_file: Folder | None = Field(None, description="compose: the file; null: its own.")
    namespace: Managed = Field("", description="kubernetes: the namespace; empty: the current one.")
    within: Seconds = Field(
        60, ge=1, le=600, description="Seconds for a restarted service to be well again."
    )
    drain: Seconds = Field(
        300, le=86_400, description="Seconds to wait for calls to end before a restart."
    )

"""The sections of recording and of ingress: where audio goes, where it may come from, how long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from config.fields import Folder, Seconds, Section, Text, Whole

NO_SECRET = SecretStr("")
_HOST = re.compile(
    r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|[0-9a-f:]+"
)


def _host(text: str) -> str:
    if not _HOST.fullmatch(text.lower()):
        raise ValueError("expected a host such as live.example.com, *.example.com or 192.0.2.7")
    return text.lower()


def _prefix(text: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9_-][A-Za-z0-9._-]*/)*", text):
        raise ValueError("expected nothing, or folders such as calls/ or calls/shop/")
    return text


def _endpoint(url: str) -> str:
    if url and not re.fullmatch(r"https?://[^/\s@]+/?", url):
        raise ValueError("expected https://HOST or https://HOST:PORT, without a path")
    return url.rstrip("/")


Days = Annotated[Whole, Field(ge=0, le=36500)]


class Targets(Section):
    """Where others may be sent: RTMP servers, web pages, sources of ingress, object stores.

    A public address of a host that is listed is allowed. The host of the configured store counts
    as listed. Private addresses need their network here too, whoever names them.
    """

    hosts: tuple[Annotated[Text, AfterValidator(_host)], ...] = Field(
        (), description="Hosts that requests may name; *.example.com: all below it. Empty: none."
    )
    private: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Networks that may be reached though they are not public: 10.1.0.0/16."
    )


class Storage(Section):
    """Where recordings are kept. Secrets come from the environment or mounted files."""

    kind: Literal["local", "s3", "azure", "gcp"] = Field("local", description="Of the store.")
    folder: Folder = Field(
        Path("data/recordings"), description="local: the folder, as worker and `ops` see it."
    )
    egress_folder: str = Field(
        "", description="local: the same folder as egress sees it; empty: the same path."
    )
    bucket: str = Field("", description="Bucket, or Azure's container.")
    prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        "", description="Before every name in the store, such as calls/."
    )
    region: str = Field("", description="s3: the region.")
    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        "", description="s3: https://HOST of a store that is not Amazon's."
    )
    path_style: bool = Field(default=False, description="s3: the bucket in the path, not the host.")
    access_key: SecretStr = Field(NO_SECRET, description="s3: the access key's id.")
    secret: SecretStr = Field(NO_SECRET, description="s3: the secret that belongs to it.")
    account_name: str = Field("", description="azure: the account.")
    account_key: SecretStr = Field(NO_SECRET, description="azure: its key.")
    credentials: SecretStr = Field(NO_SECRET, description="gcp: the service account's JSON.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {
            "local": (),
            "s3": ("bucket", "region", "access_key", "secret"),
            "azure": ("bucket", "account_name", "account_key"),
            "gcp": ("bucket", "credentials"),
        }[self.kind]
        if missing := [name for name in needed if not _given(getattr(self, name))]:
            raise ValueError(f"{self.kind} needs {', '.join(missing)}")
        return self


class Recording(Section):
    """How calls are recorded whose persona says `recording: always` or `consent`."""

    by: Literal["egress", "worker", "both"] = Field(
        "egress",
        description="LiveKit's egress (misses the second or two that it takes to start), the"
        " worker's own recorder (has the first word), or both. A simulated call is always the"
        " worker's.",
    )
    kind: Literal["room-audio", "room-video"] = Field(
        "room-audio", description="What egress records: two channels of sound, or the picture too."
    )
    output: Literal["ogg", "mp4", "mp3", "hls"] = Field("ogg", description="Egress's format.")
    storage: Storage = Storage()
    targets: Targets = Targets()
    days: Days = Field(90, description="That a recording is kept; 0: until it is deleted.")
    days_by_persona: Mapping[Text, Days] = Field(
        default_factory=dict, description="Other days for a persona: {ru: 30}."
    )
    starts_within: Seconds = Field(
        30, gt=0, le=600, description="Seconds for egress to start, before that is a failure."
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.kind == "room-video" and self.output in {"ogg", "mp3"}:
            raise ValueError("output: room-video needs mp4 or hls")
        return self

    def days_of(self, persona: str) -> int:
        """Days for which recordings of a persona are kept; 0: for ever."""
        return self.days_by_persona.get(persona, self.days)


def _given(value: Any) -> bool:
    return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)

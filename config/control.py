"""The sections of the control plane (`python -m ops serve`): each sidecar has its own."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from config.fields import Folder, Port, Section, Text, Whole

Name = Literal[
    "tokens",
    "webhooks",
    "calls",
    "events",
    "recording",
    "ingress",
    "incidents",
    "health",
    "metrics",
    "canary",
]
SIDECARS: tuple[Name, ...] = get_args(Name)


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("expected an address or a network, such as 10.0.0.0/8") from None
    return text


def _origin(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme not in {"http", "https"} or not rest or "/" in rest or "*" in rest:
        raise ValueError("expected an origin, such as https://desk.example.com")
    return text


Network = Annotated[Text, AfterValidator(_network)]
Origin = Annotated[Text, AfterValidator(_origin)]


class Serve(Section):
    """The process on port 8000, and who may speak to it."""

    host: Text = Field("127.0.0.1", description="Address that it listens on.")
    port: Port = Field(8000, description="Its port; 0 picks a free one.")
    sidecars: tuple[Name, ...] = Field(SIDECARS, description="What is served; the rest is off.")
    tls_certificate: Folder | None = Field(
        None, description="PEM file with the certificate chain; null: no TLS of our own."
    )
    tls_key: Folder | None = Field(None, description="PEM file with its private key.")
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="Addresses or networks whose X-Forwarded-For is believed."
    )
    cors_origins: tuple[Origin, ...] = Field(
        (), description="Origins that browsers may call from; empty: none."
    )
    per_minute: Annotated[Whole, Field(ge=0, le=1_000_000)] = Field(
        100, description="Requests a minute of a client, and of an address; 0: any number."
    )
    max_body: Annotated[Whole, Field(ge=1024, le=100_000_000)] = Field(
        1_000_000, description="Bytes of a request's body at most."
    )
    metrics: Literal["key", "loopback"] = Field(
        "key",
        description="Who may read /metrics: a client key of scope metrics, or also anybody on this"
        " machine who comes through no proxy.",
    )
    client_key_file: Folder = Field(
        Path("data/client-key"), description="Where the first client key is written (mode 0600)."
    )


class Tokens(Section):
    """The tokens that `POST /tokens` gives."""

    life: Annotated[Whole, Field(ge=10, le=86_400)] = Field(
        600, description="Seconds that a token lives where none are asked for."
    )
    rooms_a_minute: Annotated[Whole, Field(ge=1, le=1_000_000)] = Field(
        60, description="Rooms in a minute for which a client may ask before that is told."
    )

"""The sections of the control plane (`python -m ops serve`): each sidecar has its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from config.fields import Folder, Port, Section, Text, Whole

SIDECARS = ("tokens", "webhooks", "calls", "recording", "ingress", "health", "metrics")


class Serve(Section):
    """The process on port 8000, and who may speak to it."""

    host: Text = Field("127.0.0.1", description="Address that it listens on.")
    port: Port = Field(8000, description="Its port; 0 picks a free one.")
    sidecars: tuple[Text, ...] = Field(SIDECARS, description="What is served; the rest is off.")
    tls_certificate: Folder | None = Field(
        None, description="PEM file with the certificate chain; null: no TLS of our own."
    )
    tls_key: Folder | None = Field(None, description="PEM file with its private key.")
    trusted_proxies: tuple[Text, ...] = Field(
        (), description="Addresses or networks whose X-Forwarded-For is believed."
    )
    cors_origins: tuple[Text, ...] = Field(
        (), description="Origins that browsers may call from; empty: none."
    )
    per_minute: Annotated[Whole, Field(ge=0, le=1_000_000)] = Field(
        100, description="Requests a minute of a client, and of an address; 0: any number."
    )
    max_body: Annotated[Whole, Field(ge=1024, le=100_000_000)] = Field(
        1_000_000, description="Bytes of a request's body at most."
    )
    client_key_file: Folder = Field(
        Path("data/client-key"), description="Where the first client key is written (mode 0600)."
    )

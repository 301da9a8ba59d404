"""The section of traces: where the spans of calls go."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator

from config.fields import Section

_HEADERS = re.compile(r"\s*[A-Za-z0-9-]+=[^,\r\n]+(,\s*[A-Za-z0-9-]+=[^,\r\n]+)*,?\s*")


def _endpoint(url: str) -> str:
    if not url:
        return url
    if not re.fullmatch(r"https?://[^/\s@?#]+(/[^\s?#]*)?", url):
        raise ValueError("expected https://HOST:PORT, with a path or without")
    return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/v1/traces"


class Traces(Section):
    """OpenTelemetry spans of calls, by OTLP over HTTP.

    What people say is in none of them, unless security.traces_with_content says so.
    """

    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        "",
        description="URL of the receiver, such as https://otel.example.com:4318 (with /v1/traces,"
        " where no path is given); empty: no traces.",
    )
    headers: SecretStr = Field(
        SecretStr(""), description="Headers for it: NAME=VALUE, separated by commas."
    )
    allow_insecure: bool = Field(
        default=False, description="Allow http:// to a receiver on another machine."
    )

    @field_validator("headers")
    @classmethod
    def _readable(cls, headers: SecretStr) -> SecretStr:
        text = headers.get_secret_value()
        if text and not _HEADERS.fullmatch(text):
            raise ValueError("expected NAME=VALUE, separated by commas")
        return headers

    def named_headers(self) -> dict[str, str]:
        """The headers by name."""
        pairs = (pair.partition("=") for pair in self.headers.get_secret_value().split(","))
        return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}

"""Silences of an Alertmanager, through its API v2."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import aiohttp

from agent.errors import VoiceAgentError
from agent.store.silences import Silence
from config.incidents import Notifications

LIMIT = 10.0
"""Seconds for a request."""

NAME, SUBJECT = "alertname", "subject"


class AlertmanagerError(VoiceAgentError):
    """The Alertmanager did not do what was asked of it."""


class Alertmanager:
    """One Alertmanager. Methods raise AlertmanagerError."""

    def __init__(self, section: Notifications) -> None:
        """`section.alertmanager` is its URL."""
        self._url = section.alertmanager
        token = section.alertmanager_token.get_secret_value()
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def silence(self, silence: Silence) -> str:
        """Make a silence; its id there. Wildcards in the name become a regular expression."""
        body = {
            "matchers": [_matcher(NAME, silence.name)],
            "startsAt": silence.made_at.isoformat(),
            "endsAt": silence.until.isoformat(),
            "createdBy": silence.made_by,
            "comment": silence.comment or "python -m ops alert silence",
        }
        if silence.subject:
            body["matchers"] = [*body["matchers"], _matcher(SUBJECT, silence.subject)]
        told = await self._ask("POST", "/api/v2/silences", body)
        return str(told.get("silenceID", ""))

    async def silences(self) -> list[Silence]:
        """Those in force, the first to end first."""
        told = await self._ask("GET", "/api/v2/silences")
        found = [_silence(one) for one in told if one["status"]["state"] != "expired"]
        return sorted(found, key=lambda one: one.until)

    async def end(self, silence_id: str) -> None:
        """End a silence."""
        await self._ask("DELETE", f"/api/v2/silence/{silence_id}")

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        limit = aiohttp.ClientTimeout(total=LIMIT)
        try:
            async with (
                aiohttp.ClientSession(headers=self._headers, timeout=limit) as http,
                http.request(method, f"{self._url}{path}", json=body) as answer,
            ):
                if not answer.ok:
                    raise AlertmanagerError(
                        f"{self._url} (notifications.alertmanager) answered {answer.status}:"
                        f" {' '.join((await answer.text()).split())[:200]}"
                    )
                text = await answer.text()
                return await answer.json() if text else {}
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:  # noqa: UP041
            what = str(error) or type(error).__name__
            raise AlertmanagerError(
                f"{self._url} (notifications.alertmanager) cannot be asked: {what}"
            ) from None


def _matcher(label: str, pattern: str) -> dict[str, Any]:
    is_regex = any(char in pattern for char in "*?")
    value = _regex(pattern) if is_regex else pattern
    return {"name": label, "value": value, "isRegex": is_regex, "isEqual": True}


def _regex(pattern: str) -> str:
    """A pattern with `*` and `?` as an RE2 expression, which the Alertmanager anchors."""
    known = {"*": ".*", "?": "."}
    return "".join(
        known.get(char) or (char if char.isalnum() or char in "_-" else f"\\{char}")
        for char in pattern
    )


def _silence(told: dict[str, Any]) -> Silence:
    matchers = {one["name"]: one for one in told["matchers"]}
    others = [
        f"{name}{'=~' if one['isRegex'] else '='}{one['value']}"
        for name, one in matchers.items()
        if name != NAME
    ]
    return Silence(
        id=told["id"],
        name=matchers.get(NAME, {}).get("value", "*"),
        subject=" ".join(others),
        comment=told["comment"],
        made_by=told["createdBy"],
        made_at=datetime.fromisoformat(told["startsAt"]),
        until=datetime.fromisoformat(told["endsAt"]),
    )

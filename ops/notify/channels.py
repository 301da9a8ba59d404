"""The channels that reach people: apprise, each on a thread of its own, with a time limit."""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from pydantic import SecretStr

from agent import log
from config.errors import SettingsError
from config.incidents import Contacts, load_contacts
from config.settings import Settings, environment
from config.yamlfile import shown
from ops.notify.message import Message

logger = log.get(__name__)

LONGEST_REASON = 200


class Sender(Protocol):
    """One way to reach people."""

    async def send(self, message: Message) -> str:
        """Why the message was not taken, in a line without secrets; "" when it was."""


class Channel:
    """One apprise URL. Messages are sent one at a time; one that hangs holds up no other channel.

    What hangs beyond the limit is left to its thread, which ends with the process.
    """

    def __init__(self, name: str, service: Any, within: float) -> None:
        """`service` is apprise's own object, `within` seconds."""
        self.name = name
        self._service = service
        self._within = within
        self._is_sending = False

    async def send(self, message: Message) -> str:
        """See Sender."""
        if self._is_sending:
            return "an earlier message still hangs"
        loop = asyncio.get_running_loop()
        told: asyncio.Future[str] = loop.create_future()

        def answer(reason: str) -> None:
            self._is_sending = False
            if not told.done():
                told.set_result(reason)

        def work() -> None:
            reason = _send(self._service, message)
            try:
                loop.call_soon_threadsafe(answer, reason)
            except RuntimeError:
                logger.debug("nobody waits for it any more", channel=self.name)

        self._is_sending = True
        threading.Thread(target=work, name=f"notify-{self.name}", daemon=True).start()
        try:
            return await asyncio.wait_for(told, self._within)
        except TimeoutError:
            return f"no answer within {self._within:g} s"


def contacts_of(settings: Settings) -> Contacts:
    """Who is told, as configured. Raises SettingsError."""
    return load_contacts(settings.notifications.contacts, environment())


def channels_of(contacts: Contacts, settings: Settings) -> Mapping[str, Channel]:
    """The channels by name. Raises SettingsError for a URL that apprise cannot use."""
    if not contacts.channels:
        return {}
    within = settings.notifications.within
    made, problems = {}, []
    for name, channel in contacts.channels.items():
        service = _service(channel.url, within)
        if service is None:
            file = shown(settings.notifications.contacts or Path())
            problems.append(f"{file}: channels.{name}.url: not a URL that apprise can use")
        else:
            made[name] = Channel(name, service, within)
    if problems:
        raise SettingsError(*problems)
    return made


@cache
def _apprise() -> ModuleType:
    """The library, which takes half a second to load: only where there are channels.

    It logs addresses and payloads; what matters of it is in the result of a call.
    """
    with warnings.catch_warnings():
        # Its plugins, which it loads with the first URL, use what Python 3.13 leaves out.
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise  # noqa: PLC0415

        apprise.Apprise.instantiate("json://localhost")
    theirs = logging.getLogger("apprise")
    theirs.setLevel(logging.WARNING)
    theirs.propagate = False
    theirs.addHandler(logging.NullHandler())
    return apprise


def _service(url: SecretStr, within: float) -> Any:
    """Apprise's object for a URL, None where it knows none."""
    apprise = _apprise()
    asset = apprise.AppriseAsset(
        app_id="Voice AI Agent",
        app_desc="Voice AI Agent",
        app_url="",
        async_mode=False,  # on our thread
        service_timeout=0,  # the limit is ours
        storage_mode="memory",
    )
    service = apprise.Apprise.instantiate(url.get_secret_value(), asset=asset)
    if service is not None:
        service.socket_connect_timeout = min(service.socket_connect_timeout, within)
        service.socket_read_timeout = min(service.socket_read_timeout, within)
    return service


def _send(service: Any, message: Message) -> str:
    apprise = _apprise()
    sending = apprise.Apprise(asset=service.asset)
    sending.add(service)
    try:
        result = sending.notify(
            body=message.lines,
            title=message.title,
            notify_type=message.colour,
            body_format=apprise.NotifyFormat.TEXT,
        )
    except Exception as error:  # noqa: BLE001 - the boundary: any plugin may raise anything
        return f"{service.service_name}: {type(error).__name__}"
    if result:
        return ""
    told = [entry.message for entry in result.logs() if entry.message]
    reason = told[-1] if told else "refused, or not reachable"
    return _without_secrets(service, reason)[:LONGEST_REASON]


def _without_secrets(service: Any, reason: str) -> str:
    """The reason, unless it quotes what the URL keeps secret."""
    secrets = [str(service.password)] if service.password else []
    shown_url = service.url(privacy=True)
    whole = service.url(privacy=False)
    parts = {part for part in _words(whole) if part not in _words(shown_url)}
    if any(secret in reason for secret in (*secrets, *parts)):
        return f"{service.service_name}: refused, or not reachable"
    return str(log.clean(" ".join(reason.split())))


def _words(url: str) -> set[str]:
    """The parts of a URL that are long enough to be a secret."""
    shortest = 6
    cut = "".join(char if char.isalnum() or char in "-_" else " " for char in url)
    return {word for word in cut.split() if len(word) >= shortest}

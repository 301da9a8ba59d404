"""The SIP provider's gateways, each asked by SIP OPTIONS."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path

from config.errors import SettingsError
from config.settings import Settings, environment
from config.sip import SIP_FILE, load_sip
from ops.health.check import Check, Status, Unwell
from ops.sip.options import WITHIN, Transport, probe


def checks(settings: Settings) -> list[Check]:
    """One check for all gateways."""
    section = settings.health
    ask = partial(_ask, section.sip_gateways, min(section.within, WITHIN))
    return [Check("sip_gateway", ask, section.every, section.within)]


def gateways(
    configured: tuple[str, ...], variables: Mapping[str, str], file: Path = SIP_FILE
) -> list[tuple[str, Transport]]:
    """Whom to ask: those of the setting, else where the declared outbound trunks lead.

    Raises SettingsError for a file that cannot be used.
    """
    if configured:
        return [(address, "udp") for address in configured]
    if not file.exists():
        return []
    return [(trunk.address, trunk.transport) for trunk in load_sip(variables, file).outbound_trunks]


async def _ask(configured: tuple[str, ...], within: float) -> str:
    try:
        asked = await asyncio.to_thread(gateways, configured, environment())
    except SettingsError as error:
        why = f"config/sip.yaml: {error}".partition("\n")[0]
        raise Unwell(why, Status.NOT_CONFIGURED) from error
    if not asked:
        why = "no outbound trunk in config/sip.yaml, and health.sip_gateways is empty"
        raise Unwell(why, Status.NOT_CONFIGURED)
    answers = await asyncio.gather(
        *(probe(address, transport, within) for address, transport in dict.fromkeys(asked))
    )
    told, failed = [], 0
    for answer in answers:
        if answer.code is None:
            told.append(f"{answer.address}: {answer.error}")
        else:
            told.append(f"{answer.address}: {answer.code} {answer.reason}".rstrip())
        failed += answer.code is None or answer.code >= HTTPStatus.INTERNAL_SERVER_ERROR
    if failed:
        raise Unwell("; ".join(told), Status.DEGRADED if failed < len(told) else Status.UNHEALTHY)
    return "; ".join(told)

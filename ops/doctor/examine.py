"""The whole examination, from the outside in: configuration, network, LiveKit, stores, machine.

What depends on something that is broken is not tried: one cause is told once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

from config.settings import Settings
from ops.doctor import config, livekit, machine, network, providers, services, stores, webhook
from ops.doctor.attempt import WITHIN, Check, attempt_all, masked, named
from ops.doctor.finding import Finding, Level, worst

NAMES = (
    "sip-file network key grants redis database webhook trunks sip egress providers disk ports"
).split()
"""What `--without` may leave out."""


async def examine(
    variables: Mapping[str, str], webhook_url: str = "", without: Collection[str] = ()
) -> list[Finding]:
    """Every finding, the outermost first. Never raises for what it finds."""
    loaded, found = config.settings()
    found = named("settings", found)
    if loaded is None:
        return found
    found += named("personas", config.personas(loaded))
    if "sip-file" not in without:
        found += named("sip-file", config.telephone_side(variables))
    section = named("settings", config.livekit_section(loaded))
    found += section
    # The rest has nothing in common but the LiveKit server, and is asked at once.
    checks = [_livekit(loaded, variables, without)] if worst(section) is Level.WELL else []
    checks += [check for check in _around(loaded, webhook_url) if check.name not in without]
    return masked(found + await attempt_all(checks), config.secrets_in(loaded, variables))


def _livekit(loaded: Settings, variables: Mapping[str, str], without: Collection[str]) -> Check:
    return Check(
        "livekit",
        "LiveKit",
        partial(_at_livekit, loaded, variables, without),
        within=6 * WITHIN,  # each question has its own limit
    )


async def _at_livekit(
    loaded: Settings, variables: Mapping[str, str], without: Collection[str]
) -> list[Finding]:
    url = loaded.livekit.url
    todo = "check LIVEKIT_URL, the firewall, and whether the server runs"
    outside = [
        Check("network", network.about_name(url), partial(network.name, url), todo, Level.BROKEN),
        Check(
            "network",
            network.about_connection(url),
            partial(network.certificate, url),
            todo,
            Level.BROKEN,
        ),
        Check("network", network.about_clock(url), partial(network.clock, url), todo),
    ]
    key = Check(
        "key",
        livekit.about_key(loaded.livekit),
        partial(livekit.key, loaded),
        todo,
        Level.BROKEN,
    )
    wanted = [check for check in (*outside, key) if check.name not in without]
    found = await attempt_all(wanted)
    if worst(found) is Level.BROKEN:
        told = "not tried: see above"
        inside_it = "grants, trunks, SIP and egress"
        return [*found, Finding(Level.BROKEN, inside_it, told, check="grants")]
    inside = [
        Check("grants", "grants", partial(livekit.grants, loaded), within=2 * WITHIN),
        Check(
            "trunks",
            "trunks and rules",
            partial(services.trunks, loaded, dict(variables)),
            todo,
            within=2 * WITHIN,
        ),
        Check("sip", "SIP service", partial(services.sip, loaded), within=2 * WITHIN),
        Check("egress", "egress service", partial(services.egress, loaded), within=2 * WITHIN),
    ]
    return found + await attempt_all(check for check in inside if check.name not in without)


def _around(loaded: Settings, webhook_url: str) -> list[Check]:
    look = "look at the server, and at the way to it"
    return [
        Check(
            "redis", stores.about_redis(loaded.redis), partial(stores.shared, loaded.redis), look
        ),
        Check(
            "database",
            stores.about_database(loaded.store),
            partial(stores.database, loaded.store),
            look,
        ),
        Check("webhook", "webhooks", partial(webhook.receiver, webhook_url), look),
        *providers.checks(loaded),
        Check("disk", "data folder", partial(machine.disk, loaded.data), "look at the disk"),
        Check("ports", "ports", partial(machine.ports, loaded.worker), "look what holds them"),
        Check("ports", "worker", partial(machine.worker, loaded.worker), "look at its log"),
    ]

"""What a real Prometheus and Alertmanager see of a running product, with the shipped files."""

from __future__ import annotations

import asyncio
import re

import pytest
import pytest_asyncio

from agent.availability import FAILED
from agent.call import EndReason
from agent.events import CallNote
from ops.bench.rows import BY_NAME
from tests.observed.dashboards import asked
from tests.observed.implied import NAMED
from tests.observed.prometheus import SHIPPED_EVERY
from tests.observed.scene import EVERY, Scene

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.needs("prometheus", "prometheus-alertmanager"),
]

WITHIN = 0.05
"""Of a value that is implied."""

BUDGET = 90.0
"""Seconds from a failure to the receiver, with the shipped intervals: three of them pass, until the
failure is scraped, evaluated, and evaluated again after the rule's `for`."""

RESOLVED_WITHIN = 150.0
"""Seconds: probes come after 10, 20 and 40, and news of a group of alerts once a minute."""

FAILURES = 'sum by (kind, provider) (voice_ai_provider_failures_total{job="voice-worker"})'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory):
    async with Scene(tmp_path_factory.mktemp("observed")) as scene:
        await scene.play()
        yield scene


async def test_every_metric_has_the_value_that_all_this_implies(scene):
    moments = {"RUN": f"{scene.ended - scene.began:.0f}s", "QUIET": f"{scene.quiet:.3f}"}
    wrong = {}
    for name, claims in NAMED.items():
        for expression, implied in claims.items():
            expected = implied(scene) if callable(implied) else implied
            query = re.sub("RUN|QUIET", lambda found: moments[found[0]], expression)
            seen = await scene.prometheus.value(query, scene.ended)
            if seen != pytest.approx(expected, rel=WITHIN):
                wrong[expression] = f"{seen:g}, not {expected:g} ({name})"
    assert not wrong


async def test_no_panel_is_without_data(scene):
    empty = [
        one
        for one in asked()
        if not await scene.prometheus.values(one.expression, scene.began, scene.ended, step=5)
    ]
    assert not empty


async def test_every_rule_can_be_evaluated(scene):
    told = await scene.prometheus.get("/api/v1/rules")
    rules = [rule for group in told["data"]["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}, [r for r in rules if r["health"] != "ok"]


async def test_a_provider_that_fails_is_told_of_in_time_and_so_is_its_return(scene):
    first = scene.receiver.first
    await scene.all_up()
    before = await scene.prometheus.query(FAILURES)
    calling = asyncio.create_task(scene.call(BY_NAME["all-down"]))
    struck = await scene.struck()
    in_chat = await first(lambda one: is_chat(one, "FIRING ProviderFailing", struck), BUDGET)
    at_webhook = await first(lambda one: is_hook(one, "NoProviderLeft", "firing", struck), BUDGET)
    longest = BUDGET - 3 * (SHIPPED_EVERY - EVERY)
    assert max(in_chat.at, at_webhook.at) - struck <= longest
    assert at_webhook.authorization.startswith("Bearer ")
    placed = await calling
    assert placed.events[-1].reason is EndReason.PROVIDER_FAILURE
    await scene.scraped()
    after = await scene.prometheus.query(FAILURES)
    assert {key: after[key] - before[key] for key in after} == {
        key: sum(
            {"kind": note["of"], "provider": note["provider"]} == dict(key)
            for note in failed(placed)
        )
        for key in after
    }

    scene.mend()
    back = lambda one: is_hook(one, "NoProviderLeft", "resolved", at_webhook.at)  # noqa: E731
    await first(back, RESOLVED_WITHIN)
    well = lambda one: is_chat(one, "RESOLVED ProviderFailing", in_chat.at)  # noqa: E731
    await first(well, RESOLVED_WITHIN)


def is_chat(told, title, since):
    """Whether a message in the chat says so."""
    return (told.path, told.at > since) == ("/chat", True) and title in told.body["attachments"][0][
        "title"
    ]


def is_hook(told, alert, status, since):
    """Whether a webhook tells of an alert, and that it is so."""
    if (told.path, told.at > since) != ("/webhook", True) or told.body["status"] != status:
        return False
    return any(one["labels"]["alertname"] == alert for one in told.body["alerts"])


def failed(placed):
    """The failures of providers that a call has noted."""
    return [e.detail for e in placed.events if isinstance(e, CallNote) and e.name == FAILED]

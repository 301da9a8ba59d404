"""What a real Prometheus and Alertmanager see of a running product, with the shipped files."""

from __future__ import annotations

import math

import pytest
import pytest_asyncio

from tests.observed.scene import Scene

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.needs("prometheus", "prometheus-alertmanager"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory):
    async with Scene(tmp_path_factory.mktemp("observed")) as scene:
        await scene.play()
        yield scene


async def test_the_calls_are_seen(scene):
    for name in sorted(await scene.prometheus.names()):
        if (
            name.startswith(("livekit_", "voice"))
            and "_bucket" not in name
            and "_created" not in name
        ):
            found = await scene.prometheus.query(name)
            print(
                name,
                {
                    tuple(v for k, v in key if k not in ("__name__", "instance", "job")): round(
                        value, 4
                    )
                    for key, value in found.items()
                    if value
                },
            )

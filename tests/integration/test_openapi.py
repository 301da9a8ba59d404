"""Generated requests against all that the OpenAPI describes: no surprise in what is answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, errors
from schemathesis.specs.openapi import checks as openapi_checks

from tests.control_plane import ControlPlane
from tests.front_door import FrontDoor

EXAMPLES = 15
"""Requests for each operation and each kind of credentials: with all routes, below two minutes."""

CHECKS = [
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
KEYS = ("all", "none", "narrow", "wrong")


@pytest.fixture
async def plane(tmp_path):
    async with FrontDoor() as livekit:
        more: dict[str, str] = {**livekit.variables, "VOICE_AGENT__SERVE__PER_MINUTE": "0"}
        async with ControlPlane(tmp_path, **more) as plane:
            yield plane


async def test_every_answer_is_as_described_whatever_is_asked(plane):
    keys = {
        "all": await plane.key("admin"),
        "narrow": await plane.key("tokens:viewer:lobby"),
        "wrong": "vak_1_2",
        "none": "",
    }
    described = plane.app.openapi()
    assert {"/health", "/tokens", "/tokens/refresh"} <= set(described["paths"])
    for whose in KEYS:
        failures = await asyncio.to_thread(_try_all, described, plane.url, keys[whose])
        assert failures == [], f"with the key {whose}"


def _try_all(described: dict[str, Any], url: str, key: str) -> list[str]:
    schema = schemathesis.openapi.from_dict(described)
    headers = {"Authorization": f"Bearer {key}"} if key else {}

    def ask(case: schemathesis.Case) -> None:
        response = case.call(base_url=url, headers=headers)
        assert response.status_code < 500 or response.status_code == 503, response.text
        case.validate_response(response, checks=CHECKS)

    failures: list[str] = []
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode)
            try:
                BOUNDED(given(strategy)(ask))()
            except Unsatisfiable:
                continue  # such as: nothing can be wrong with a route that takes nothing
            except (AssertionError, errors.SchemathesisError, ExceptionGroup) as error:
                failures.append(f"{operation.label}: {error}")
    return failures

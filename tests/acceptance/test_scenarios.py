"""Every shipped scenario as the command plays it: all that its caller expects is met."""

from __future__ import annotations

import pytest

from plugins.line.scenario import load_scenario, shipped
from tests.programs import rehearse

pytestmark = pytest.mark.acceptance


def _needing(name):
    sounds = load_scenario(name).caller.sounds
    return pytest.param(name, marks=[pytest.mark.needs(sounds.package)] if sounds else [])


@pytest.mark.parametrize("scenario", [_needing(name) for name in shipped()])
def test_every_expectation_of_the_scenario_is_met(scenario, tmp_path):
    summary, report = rehearse(tmp_path, "--scenario", scenario)
    assert summary["expectations_met"], report

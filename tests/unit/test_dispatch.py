"""Who answers and how: the job's metadata, then the rule's attributes, then the settings."""

from __future__ import annotations

import json

import pytest

from agent.call import Caller
from agent.dispatch import persona_for
from config.persona import load_personas
from config.sections import Settings
from config.settings import ROOT

CALLED = "+15555550100"


@pytest.fixture(scope="module")
def personas():
    found = load_personas(ROOT / "config" / "personas")
    return {
        **found,
        "listed": found["en"].model_copy(update={"name": "listed", "numbers": (CALLED,)}),
        "night": found["en"].model_copy(update={"name": "night"}),
    }


@pytest.fixture
def chosen(personas):
    def choose(metadata="", attributes=None, by_number=None, called=CALLED, kind="sip"):
        settings = Settings.model_validate({"personas": {"by_number": by_number or {}}})
        caller = Caller("sip_1", "+15550100", called, kind, attributes or {})
        told = metadata if isinstance(metadata, str) else json.dumps(metadata)
        return persona_for(settings, personas, told, caller)

    return choose


def test_the_order_of_who_decides(chosen):
    by_rule, by_number = {"voice.persona": "ru"}, {CALLED: {"persona": "night"}}
    assert chosen({"persona": "en"}, by_rule, by_number).name == "en"
    assert chosen({}, by_rule, by_number).name == "ru"
    assert chosen("", {}, by_number).name == "night"
    assert chosen().name == "listed"
    assert chosen(called="+15555550199").name == "en"
    assert chosen(called="").name == "en"


def test_the_called_number_counts_in_any_notation(chosen):
    by_number = {CALLED: {"persona": "night"}}
    for called in ("15555550100", "0015555550100", "+1 555 555-0100"):
        assert chosen(by_number=by_number, called=called).name == "night"


def test_other_choices_may_come_from_another_source(chosen):
    persona = chosen(
        {"persona": "ru"},
        {"voice.max_duration": "120", "voice.transfer_to": "tel:+15555550111"},
        {CALLED: {"max_duration": 60, "transfer_to": "tel:+15555550122"}},
    )
    assert (persona.name, persona.limits.max_duration) == ("ru", 120)
    assert persona.transfer.to == "tel:+15555550111"


def test_what_is_not_chosen_is_the_personas_own(chosen, personas):
    assert chosen({"persona": "ru"}) == personas["ru"]


def test_a_short_call_is_not_warned_of_before_it_begins(chosen):
    limits = chosen({"max_duration": 30}).limits
    assert (limits.max_duration, limits.duration_warning) == (30, 0)


def test_an_unknown_persona_is_logged_and_the_next_source_decides(chosen, caplog):
    assert chosen({"persona": "nobody"}, {"voice.persona": "ru"}).name == "ru"
    assert "a persona is unknown" in caplog.messages


@pytest.mark.parametrize("metadata", ["{", "[]", "7", '"ru"', '{"persona": ["ru"]}'])
def test_bad_metadata_is_logged_and_ignored(chosen, metadata, caplog):
    assert chosen(metadata).name == "listed"
    assert len(caplog.messages) == 1


def test_what_is_wrong_takes_nothing_else_with_it(chosen, caplog):
    told = {"persona": "ru", "max_duration": "for ever", "ticket": {"of": "another program"}}
    persona = chosen(told)
    assert (persona.name, persona.limits.max_duration) == ("ru", 900)
    (record,) = caplog.records
    assert record.keys == "max_duration"


def test_a_caller_from_a_browser_chooses_nothing_by_its_own_attributes(chosen):
    attributes = {"voice.persona": "ru", "voice.transfer_to": "tel:+15555550111"}
    assert chosen("", attributes, kind="standard").name == "listed"


def test_a_job_sends_a_caller_only_where_the_configuration_does(chosen, personas, caplog):
    own = personas["en"].transfer.to
    assert chosen({"transfer_to": own}).transfer.to == own
    listed = {"+15555550177": {"transfer_to": "tel:+15555550122"}}
    assert chosen({"transfer_to": "tel:+15555550122"}, by_number=listed).transfer.to == (
        "tel:+15555550122"
    )
    assert caplog.messages == []


def test_a_job_does_not_send_a_caller_anywhere_else(chosen, personas, caplog):
    persona = chosen({"persona": "ru", "transfer_to": "tel:+19005550111"})
    assert persona == personas["ru"]
    (line,) = caplog.records
    assert "transfer_to" in line.message
    assert "+1900" not in f"{line.__dict__}"


def test_what_a_job_may_not_choose_is_left_to_the_next_source(chosen):
    by_number = {CALLED: {"transfer_to": "tel:+15555550122"}}
    persona = chosen({"transfer_to": "tel:+19005550111"}, by_number=by_number)
    assert persona.transfer.to == "tel:+15555550122"

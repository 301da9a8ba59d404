"""`config/retry_policies.yaml`: what is repeated, and mistakes in the file."""

from __future__ import annotations

import pytest

from config.errors import SettingsError
from config.retries import METHODS, RetryPolicies, load_retries, method_name
from config.settings import ROOT, load

ONLY_ONCE = {
    "agent_dispatch.create_dispatch",
    "egress.start_egress",
    "egress.start_participant_egress",
    "egress.start_room_composite_egress",
    "egress.start_track_composite_egress",
    "egress.start_track_egress",
    "egress.start_web_egress",
    "ingress.create_ingress",
    "room.forward_participant",
    "room.move_participant",
    "room.perform_rpc",
    "room.send_data",
    "sip.create_sip_dispatch_rule",
    "sip.create_sip_inbound_trunk",
    "sip.create_sip_outbound_trunk",
    "sip.create_sip_participant",
    "sip.transfer_sip_participant",
}


@pytest.fixture
def shipped():
    return load_retries(load(environ={}).livekit.retry_policies)


def test_what_may_have_been_done_is_repeated_only_where_that_is_safe(shipped):
    once = {name for name in METHODS if not shipped.of(*name.split(".")).repeatable}
    assert once == ONLY_ONCE


def test_what_ships_says_what_the_defaults_are(shipped):
    plain = RetryPolicies()
    assert (shipped.default, shipped.breaker) == (plain.default, plain.breaker)


def test_a_method_is_over_its_service_and_that_over_the_default(tmp_path):
    policies = read(
        tmp_path,
        "default: {attempts: 2, timeout: 9}\n"
        "policies:\n"
        "  sip: {attempts: 4, repeatable: true}\n"
        "  sip.create_sip_participant: {repeatable: false, max_wait: 1}\n",
    )
    dial = policies.of("sip", "create_sip_participant")
    assert (dial.attempts, dial.timeout, dial.repeatable, dial.max_wait) == (4, 9, False, 1)
    create = policies.of("sip", "create_sip_inbound_trunk")
    assert (create.attempts, create.repeatable, create.max_wait) == (4, True, 5)
    assert policies.of("room", "list_rooms").attempts == 2


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("ListRooms", "list_rooms"),
        ("CreateSIPParticipant", "create_sip_participant"),
        ("PerformRpc", "perform_rpc"),
        ("ListSIPTrunk", "list_sip_trunk"),
    ],
)
def test_names(theirs, ours):
    assert method_name(theirs) == ours


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("default: {attemps: 3}", "retries.yaml:1: default.attemps: unknown key, did you mean"),
        ("defaults: {}", "defaults: unknown key, did you mean default?"),
        ("policies: {room: {time_out: 3}}", "policies.room.time_out: unknown key"),
        ("default: {attempts: 0}", "default.attempts: must be greater than or equal to 1"),
        ("default: {timeout: 0}", "default.timeout: must be greater than 0"),
        ("default: {repeatable: perhaps}", "default.repeatable: expected true or false"),
        (
            "policies: {room.delete_rooms: {attempts: 3}}",
            "no service or method room.delete_rooms, did you mean room.delete_room?",
        ),
        ("policies: {zzz: {}}", "no service or method zzz (such as room.delete_room)"),
        ("breaker: {failures: -1}", "breaker.failures: must be greater than or equal to 0"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, text, says):
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, text)
    (line,) = refused.value.problems
    assert says in line


def test_an_empty_file_is_the_defaults_and_a_missing_one_an_error(tmp_path):
    assert read(tmp_path, "") == RetryPolicies()
    with pytest.raises(SettingsError, match="cannot be read"):
        load_retries(tmp_path / "gone.yaml")


def test_the_file_lies_where_the_settings_say():
    assert load(environ={}).livekit.retry_policies == ROOT / "config" / "retry_policies.yaml"


def read(folder, text):
    file = folder / "retries.yaml"
    file.write_text(text)
    return load_retries(file)

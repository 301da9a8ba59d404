"""`sip import`: the old flat file in the format of today."""

import pytest
import yaml

from config.errors import SettingsError
from config.sip import load_sip
from ops.sip.old_shape import translate

OLD = """
trunks:
  - name: novofon-inbound
    numbers: ["${SIP_NUMBER}"]
    allowed_addresses: [203.0.113.0/24]
    auth_required: false
routing:
  - name: voice-ai-dispatch
    match: {to: "${SIP_NUMBER}"}
    action: livekit_room
    template: "voice-ai-call-{call_id}"
connection: {timeout: 30, keep_alive: true, reconnect: true}
codecs: [PCMU, PCMA, opus]
"""


def translated(tmp_path, text):
    file = tmp_path / "old.yaml"
    file.write_text(text)
    return translate(file)


def test_the_whole_file_is_translated_and_can_be_used(tmp_path):
    text, notes = translated(tmp_path, OLD)
    (tmp_path / "sip.yaml").write_text(text)

    sip = load_sip({"SIP_NUMBER": "+79000000001"}, tmp_path / "sip.yaml")

    [trunk], [rule] = sip.inbound_trunks, sip.dispatch_rules
    assert (trunk.name, trunk.numbers) == ("novofon-inbound", ("+79000000001",))
    assert [codec.name for codec in trunk.media.codecs] == ["PCMU", "PCMA"]
    assert (rule.name, rule.trunks) == ("voice-ai-dispatch", ("novofon-inbound",))
    assert rule.numbers == ("+79000000001",)
    assert (rule.callee.room_prefix, rule.callee.randomize) == ("voice-ai-call-", True)
    assert rule.room_config.agents[0].agent_name == "voice-ai"
    assert notes == [
        "codecs: opus: no equivalent (LiveKit SIP speaks PCMU, PCMA and G722)",
        "connection.timeout: no equivalent (LiveKit SIP keeps its own connections)",
        "connection.keep_alive: no equivalent (LiveKit SIP keeps its own connections)",
        "connection.reconnect: no equivalent (LiveKit SIP keeps its own connections)",
    ]
    assert all(f"# {note}" in text for note in notes)


def test_references_stay_references(tmp_path):
    text, _ = translated(tmp_path, OLD)

    assert yaml.safe_load(text)["inbound_trunks"][0]["numbers"] == ["${SIP_NUMBER}"]


def test_an_open_trunk_stays_refused_and_says_so(tmp_path):
    text, notes = translated(tmp_path, OLD.replace("203.0.113.0/24", "0.0.0.0/0"))
    (tmp_path / "sip.yaml").write_text(text)

    assert "trunks: novofon-inbound: takes calls from every address without auth" in notes[0]
    assert "so `plan` refuses it" in notes[0]
    with pytest.raises(SettingsError, match="allow_open"):
        load_sip({"SIP_NUMBER": "+79000000001"}, tmp_path / "sip.yaml")


def test_required_authentication_becomes_references(tmp_path):
    text, notes = translated(tmp_path, OLD.replace("auth_required: false", "auth_required: true"))

    auth = {"username": "${SIP_USERNAME}", "password": "${SIP_PASSWORD}"}
    assert yaml.safe_load(text)["inbound_trunks"][0]["auth"] == auth
    assert notes[0].startswith("trunks: novofon-inbound: auth_required: set SIP_USERNAME")


@pytest.mark.parametrize(
    ("template", "kind", "value"),
    [
        ("support", "direct", {"room_name": "support"}),
        ("shop-{uuid}", "callee", {"room_prefix": "shop-", "randomize": True}),
        ("{from}-{call_id}", "callee", {"room_prefix": "voice-ai-call-", "randomize": True}),
        ("", "callee", {"room_prefix": "voice-ai-call-", "randomize": True}),
    ],
)
def test_a_template_becomes_a_rule(template, kind, value, tmp_path):
    text, notes = translated(tmp_path, OLD.replace("voice-ai-call-{call_id}", template))

    assert yaml.safe_load(text)["dispatch_rules"][0][kind] == value
    assert any("template" in note for note in notes) is ("{from}" in template)


def test_what_has_no_equivalent_is_named(tmp_path):
    text = OLD.replace("action: livekit_room", "action: forward").replace(
        "match: {to:", "priority: 1\n    match: {from: a, to:"
    )
    _, notes = translated(tmp_path, text + "logging: {level: debug}\n")

    assert "routing: voice-ai-dispatch: action forward: no equivalent, calls go to a room" in notes
    assert "routing: voice-ai-dispatch: match.from: no equivalent" in notes
    assert "routing: voice-ai-dispatch: priority: no equivalent" in notes
    assert notes[-1] == "logging: no equivalent"


def test_codecs_may_be_grouped_or_nicknamed(tmp_path):
    grouped = OLD.replace(
        "codecs: [PCMU, PCMA, opus]", "codecs: {audio: [{name: ulaw}], video: []}"
    )
    text, _ = translated(tmp_path, grouped)

    media = yaml.safe_load(text)["inbound_trunks"][0]["media"]
    assert media == {"only_listed_codecs": True, "codecs": [{"name": "PCMU", "rate": 8000}]}


def test_another_shape_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"old\.yaml: trunks: expected a list of trunks"):
        translated(tmp_path, "inbound_trunks: []")

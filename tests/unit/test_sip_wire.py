"""Every field of the SIP API can be declared, sent, read back and exported."""

import pytest
from livekit.protocol import room, sip

from config.references import SECRETS
from config.sip import load_sip
from ops.sip.export import export
from ops.sip.thing import Kind, Thing, is_withheld, seal
from ops.sip.wire import IDS, MESSAGES, declared, read, write

NOT_DECLARED = {"sip_trunk_id", "sip_dispatch_rule_id", "created_at", "updated_at"}
VALUES = {
    "address": "sip.example.test",
    "auth_password": "a-password",
    "from_host": "from.example.test",
    "allowed_addresses": "203.0.113.7",
    "destination_country": "RU",
    "include_headers": sip.SIPHeaderOptions.SIP_X_HEADERS,
    "metadata": '{"managed_by": "voice-ai", "site": "lab"}',
    "rate": 8000,
    "ringing_timeout_status": sip.SIPStatusCode.SIP_STATUS_BUSY_HERE,
}
"""Where not every value will do."""


def choices(descriptor):
    """How many alternatives the widest choice among the fields has."""
    own = [sum(not f.GetOptions().deprecated for f in one.fields) for one in descriptor.oneofs]
    below = [choices(f.message_type) for f in descriptor.fields if f.message_type]
    return max([1, *own, *below])


def fill(message, choice):
    """Give each field a value that is not its default; of alternatives, the one numbered so."""
    for field in message.DESCRIPTOR.fields:
        if field.name in NOT_DECLARED or field.GetOptions().deprecated or hidden(field, choice):
            continue
        value = getattr(message, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            value["X-Key"] = "value"
        elif field.message_type and field.message_type.name == "Duration":
            value.FromMilliseconds(1500)
        elif field.message_type:
            fill(value.add() if field.is_repeated else value, choice)
            if not field.is_repeated:
                value.SetInParent()
        elif field.is_repeated:
            value.append(plain(field))
        else:
            setattr(message, field.name, plain(field))
    return message


def hidden(field, choice):
    group = field.containing_oneof
    if group is None:
        return False
    open_ones = [one.name for one in group.fields if not one.GetOptions().deprecated]
    return field.name != open_ones[choice % len(open_ones)]


def plain(field):
    if field.name in VALUES:
        return VALUES[field.name]
    if field.enum_type:
        return field.enum_type.values[-1].number
    if field.cpp_type == field.CPPTYPE_STRING:
        return f"a-{field.name}"
    return True if field.cpp_type == field.CPPTYPE_BOOL else 7


CASES = [
    (kind, n) for kind, message in MESSAGES.items() for n in range(choices(message.DESCRIPTOR))
]


def whole(kind, choice):
    message = fill(MESSAGES[kind](), choice)
    if kind is Kind.RULE:
        message.trunk_ids[:] = ["ST_1"]
        for agent in message.room_config.agents:
            agent.metadata = '{"persona": "en"}'
        message.room_config.metadata = "text"
    message.media_encryption = message.media.encryption
    return message


@pytest.mark.parametrize(("kind", "choice"), CASES)
def test_every_field_is_read_and_written_back(kind, choice):
    message = whole(kind, choice)

    assert write(read(kind, message, {})) == message


def secret_of(variable):
    way = variable.lower().rstrip("_0123456789")
    key = max((key for key in SECRETS if way.endswith(key)), key=len, default="url")
    return f"a-{key}"


@pytest.mark.parametrize(("kind", "choice"), CASES)
def test_every_field_can_be_exported_and_declared(kind, choice, tmp_path):
    message = whole(kind, choice)
    setattr(message, IDS[kind], "S_1")
    thing = read(kind, message, {})
    file = tmp_path / "sip.yaml"

    file.write_text(export([thing], "voice-ai"))
    names = [
        line.split("${")[1].split("}")[0]
        for line in file.read_text().splitlines()
        if "${" in line and not line.startswith("#")
    ]
    [back] = declared(load_sip({name: secret_of(name) for name in names}, file))

    assert back.fields == thing.fields
    assert len(set(names)) == len(names)
    assert "a-password" not in file.read_text()
    assert "a-secret" not in file.read_text()


def test_a_bare_rule_is_exported_without_the_defaults_of_our_file(tmp_path):
    message = sip.SIPDispatchRuleInfo(name="bare")
    message.rule.dispatch_rule_callee.SetInParent()
    thing = read(Kind.RULE, message, {})
    file = tmp_path / "sip.yaml"

    file.write_text(export([thing], "voice-ai"))
    [back] = declared(load_sip({}, file))

    assert back.fields == thing.fields == {"callee": {}}


def test_the_export_says_what_is_not_ours_open_or_not_told():
    trunk = sip.SIPInboundTrunkInfo(name="Line 1", numbers=["+15555550100"], metadata="by hand")
    quiet = sip.SIPInboundTrunkInfo(name="b", numbers=["+15555550101"], auth_username="u")

    text = export([read(Kind.INBOUND, one, {}) for one in (trunk, quiet)], "voice-ai")

    head = [line for line in text.splitlines() if line.startswith("#")]
    assert "# inbound trunk Line 1: its metadata is text, kept here under the key `text`" in head
    assert any("takes calls from every address without authentication" in line for line in head)
    assert "# inbound trunk b: B_PASSWORD (the server does not tell it)" in head
    assert head[-1].startswith("# Not ours, `apply` needs --adopt: inbound trunk Line 1, inbound")
    assert "allow_open: true" in text


def test_the_old_field_for_encryption_counts_where_the_new_one_is_not_told():
    old = sip.SIPInboundTrunkInfo(media_encryption="SIP_MEDIA_ENCRYPT_REQUIRE")

    assert read(Kind.INBOUND, old, {}).fields == {"media": {"encryption": "require"}}


def test_keys_of_the_operator_are_not_taken_for_words_of_the_api():
    fields = {"callee": {}, "attributes": {"transport": "bus", "encryption": "no"}}

    message = write(Thing(Kind.RULE, "r", {**fields, "metadata": {"vip": False}}))

    assert dict(message.attributes) == fields["attributes"]
    assert read(Kind.RULE, message, {}).fields["metadata"] == {"vip": False}


def test_trunks_go_by_name_here_and_by_id_there():
    rule = Thing(Kind.RULE, "r", {"callee": {}, "trunks": ["main", "ST_9"]})

    message = write(rule, {"main": "ST_1"})

    assert list(message.trunk_ids) == ["ST_1", "ST_9"]
    assert read(Kind.RULE, message, {"ST_1": "main"}).fields["trunks"] == ["main", "ST_9"]


def test_a_seal_tells_secrets_apart_and_is_none_for_rules():
    def sealed(password, kind=Kind.INBOUND):
        return seal(kind, "a", {"auth": {"username": "u", "password": password}})

    assert sealed("one") == sealed("one") != sealed("two")
    assert seal(Kind.INBOUND, "a", {"numbers": ["1"]}) == ""
    assert seal(Kind.RULE, "a", {"direct": {"pin": "1234"}}) == ""


@pytest.mark.parametrize(
    ("value", "withheld"),
    [
        ("****", True),
        ("<redacted>", True),
        (["**"], True),
        ("", False),
        ("a*", False),
        (None, False),
    ],
)
def test_stars_are_no_password(value, withheld):
    assert is_withheld(value) is withheld


def test_the_egress_of_the_file_is_that_of_the_api():
    assert {field.name for field in room.RoomEgress.DESCRIPTOR.fields} == {
        "room",
        "participant",
        "tracks",
    }

"""`config/sip.yaml`: what is accepted, what is refused and in which words."""

import pytest
import yaml

from config.errors import SettingsError
from config.settings import ROOT
from config.sip import SIP_FILE, load_sip, owner_in

VARIABLES = {
    "SIP_NUMBER": "+79000000001",
    "SIP_ALLOWED_ADDRESSES": "203.0.113.0/24, 198.51.100.7",
    "PASSWORD": "hush",
}
IN = {"name": "in", "numbers": ["+15555550100"], "allowed_addresses": ["203.0.113.7"]}
OUT = {"name": "out", "address": "sip.example.test", "numbers": ["+15555550100"]}


def loaded(tmp_path, text, **variables):
    file = tmp_path / "sip.yaml"
    file.write_text(text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False))
    return load_sip({**VARIABLES, **variables}, file)


def problems_of(tmp_path, text, **variables):
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, text, **variables)
    return [line.replace(f"{tmp_path}/", "") for line in caught.value.problems]


def inbound(**changes):
    return {"inbound_trunks": [{**IN, **changes}]}


def outbound(**changes):
    return {"outbound_trunks": [{**OUT, **changes}]}


def rule(**changes):
    return {"dispatch_rules": [{"name": "rule", **changes}]}


def test_the_file_that_ships_names_what_others_rely_on():
    sip = load_sip(VARIABLES)

    [trunk], [dispatch] = sip.inbound_trunks, sip.dispatch_rules
    assert (trunk.name, dispatch.name) == ("novofon-inbound", "voice-ai-dispatch")
    assert trunk.numbers == ("+79000000001",)
    assert trunk.allowed_addresses == ("203.0.113.0/24", "198.51.100.7")
    assert dispatch.callee.room_prefix == "voice-ai-call-"
    assert dispatch.callee.randomize
    assert dispatch.room_config.agents[0].agent_name == "voice-ai"


def test_what_ships_equals_the_defaults(tmp_path):
    named = rule(name="voice-ai-dispatch", trunks=["in"])

    [dispatch] = loaded(tmp_path, {**inbound(), **named}).dispatch_rules

    assert dispatch.model_copy(update={"trunks": ()}) == load_sip(VARIABLES).dispatch_rules[
        0
    ].model_copy(update={"trunks": ()})


def test_missing_variables_are_named_all_at_once():
    with pytest.raises(SettingsError) as caught:
        load_sip({"SIP_NUMBER": ""})

    assert [line.partition(" ")[2] for line in caught.value.problems] == [
        "inbound_trunks[0].numbers: the environment variable SIP_NUMBER is not set",
        (
            "inbound_trunks[0].allowed_addresses: the environment variable"
            " SIP_ALLOWED_ADDRESSES is not set"
        ),
    ]
    assert caught.value.problems[0].startswith("config/sip.yaml:")


def test_a_variable_may_be_a_part_of_a_text_anywhere(tmp_path):
    told = outbound(address="${NAME}.pstn.example.test", headers={"X-Site": "a-${NAME}"})

    [trunk] = loaded(tmp_path, told, NAME="acme").outbound_trunks

    assert trunk.address == "acme.pstn.example.test"
    assert trunk.headers == {"X-Site": "a-acme"}


def test_a_password_comes_from_a_variable_or_a_mounted_file(tmp_path):
    (tmp_path / "secret").write_text("hush-file\n")
    by_file = {"username": "u", "password_file": str(tmp_path / "secret")}
    by_variable = {"username": "u", "password": "${PASSWORD}"}

    for auth, password in ((by_file, "hush-file"), (by_variable, "hush")):
        [trunk] = loaded(tmp_path, inbound(auth=auth)).inbound_trunks
        assert trunk.auth.password.get_secret_value() == password
        assert "hush" not in repr(trunk)


def test_profiles_give_what_the_trunk_does_not_say(tmp_path):
    twilio = {"name": "in", "numbers": ["+15555550100"], "profile": "twilio"}
    novofon = {"name": "out", "numbers": ["+79000000001"], "profile": "novofon"}
    told = {"inbound_trunks": [twilio], "outbound_trunks": [novofon]}

    sip = loaded(tmp_path, told)
    assert len(sip.inbound_trunks[0].allowed_addresses) == 8
    assert sip.outbound_trunks[0].address == "sip.novofon.ru"

    [own] = loaded(tmp_path, inbound(profile="twilio")).inbound_trunks
    assert own.allowed_addresses == ("203.0.113.7",)


@pytest.mark.parametrize("profile", sorted((ROOT / "config" / "sip_profiles").glob("*.yaml")))
def test_the_profiles_that_ship_are_accepted(profile, tmp_path):
    told = {
        "inbound_trunks": [{**IN, "profile": profile.stem}],
        "outbound_trunks": [{**OUT, "profile": profile.stem}],
    }
    assert loaded(tmp_path, told).inbound_trunks[0].name == "in"


def test_two_trunks_of_one_number_may_differ_in_who_calls(tmp_path):
    second = {**IN, "name": "b", "allowed_numbers": ["+15555550111"]}

    assert len(loaded(tmp_path, {"inbound_trunks": [IN, second]}).inbound_trunks) == 2


ADDRESS = "expected an IP address, a network such as 203.0.113.0/24, or a host name"
HOST = "expected a host name or address, without sip: and parameters"
SECRET = "a secret does not belong in YAML: write ${NAME}, or"
WRONG = [
    (inbound(numers=[]), "inbound_trunks[0].numers: unknown key, did you mean inbound_trunks[0]"),
    (inbound(numbers=[15555550100]), "inbound_trunks[0].numbers[0]: expected text, not a number"),
    (inbound(allowed_addresses=["203.0.113.300"]), f"allowed_addresses[0]: {ADDRESS}"),
    (inbound(allowed_addresses=["0.0.0.0/33"]), f"allowed_addresses[0]: {ADDRESS}"),
    (inbound(allowed_addresses=["a b"]), f"allowed_addresses[0]: {ADDRESS}"),
    (inbound(ringing_timeout_status=481999), "expected a SIP status code such as 480 or 486"),
    (inbound(ringing_timeout="soon"), "inbound_trunks[0].ringing_timeout: expected a number"),
    (inbound(include_headers="X"), "expected one of none, x, all"),
    (inbound(media={"encryption": "on"}), "media.encryption: expected one of disable, allow, req"),
    (inbound(media={"codecs": [{"rate": 8000}]}), "media.codecs[0].name: is required but missing"),
    (inbound(metadata="text"), "inbound_trunks[0].metadata: "),
    (inbound(auth={"username": "u"}), "inbound_trunks[0].auth.password: is required but missing"),
    (inbound(auth={"username": "u", "password": "hush"}), f"auth.password: {SECRET} password_file"),
    (inbound(auth={"username": "u", "password": 1}), f"auth.password: {SECRET} password_file"),
    (
        inbound(auth={"username": "u", "password": "${PASSWORD}", "password_file": "/x"}),
        "auth.password_file: given as password as well: keep one",
    ),
    (inbound(auth={"username": "u", "password_file": "/none"}), "/none: cannot be read: No such"),
    (
        inbound(profile="nobody"),
        "inbound_trunks.profile: no profile nobody (there are: novofon, twil",
    ),
    (inbound(name="${1}"), "expected ${NAME}, the name of an environment variable"),
    (inbound(name="${A"), "expected ${NAME}, the name of an environment variable"),
    ({"inbound_trunks": [IN, IN]}, "inbound_trunks: two are named in"),
    (
        {"inbound_trunks": [IN, {**IN, "name": "b", "numbers": ["1 (555) 555-0100"]}]},
        "inbound_trunks: in and b would match the same calls (same number and allowed_numbers)",
    ),
    (
        inbound(numbers=["+15555550100", "1 (555) 555-0100"]),
        "inbound_trunks: in has the same number twice, and the server would refuse its calls",
    ),
    (
        rule(inbound_numbers=["+15555550101", "+15555550101"]),
        "dispatch_rules: rule has the same number twice, and the server would refuse its calls",
    ),
    (outbound(address="sip:example.test"), f"outbound_trunks[0].address: {HOST}"),
    (outbound(address="a.test;transport=tcp"), f"outbound_trunks[0].address: {HOST}"),
    (outbound(numbers=[]), "outbound_trunks[0].numbers: the list must not be empty"),
    (outbound(transport="sctp"), "expected one of auto, udp, tcp, tls"),
    (rule(direct={"room_name": "r"}, callee={}), "give one of direct, individual and callee"),
    (rule(callee={"prefix": "x"}), "dispatch_rules[0].callee.prefix: unknown key"),
    (rule(direct={"room_name": "r", "pin": "1234"}), f"direct.pin: {SECRET} pin_file"),
    (rule(trunks=["in"]), "dispatch_rules: rule: no inbound trunk in (there are: none; one outsid"),
    (
        {"dispatch_rules": [{"name": "a"}, {"name": "b"}]},
        "dispatch_rules: a and b would match the same calls (same trunk, numbers, inbound_numbers",
    ),
    (
        rule(room_config={"egress": {"room": {"file_outputs": [{"filepat": "x"}]}}}),
        "file_outputs[0].filepat: unknown key, did you mean dispatch_rules[0].room_config.egress",
    ),
    (
        rule(room_config={"egress": {"room": {"file_outputs": [{"file_type": "WEBM"}]}}}),
        "file_type: expected one of DEFAULT_FILETYPE, MP4, OGG, MP3",
    ),
    (
        rule(room_config={"egress": {"room": {"file_outputs": [{"s3": {"secret": "hush"}}]}}}),
        f"file_outputs[0].s3.secret: {SECRET} secret_file",
    ),
    (
        rule(room_config={"egress": {"room": {"audio_only": True}}}),
        "room_config.egress: room: needs one of file_outputs, stream_outputs",
    ),
    (
        rule(room_config={"egress": {"room": {"stream_outputs": [{"urls": ["rtmp://h/hush"]}]}}}),
        f"stream_outputs[0].urls[0]: {SECRET} urls_file",
    ),
]


@pytest.mark.parametrize(("told", "what"), WRONG, ids=[what[:60] for _, what in WRONG])
def test_what_is_wrong_is_one_line_that_names_file_and_key(told, what, tmp_path):
    [line] = problems_of(tmp_path, told)

    assert what in line
    assert "hush" not in line.replace("/hush", "/")


def test_lines_are_counted(tmp_path):
    text = "inbound_trunks:\n  - name: in\n    numbers: ['1']\n    allow_open: perhaps\n"

    assert problems_of(tmp_path, text) == [
        "sip.yaml:4: inbound_trunks[0].allow_open: expected true or false"
    ]


OPEN = "takes calls from every address without authentication"
AUTH = {"username": "u", "password": "${PASSWORD}"}


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        (["0.0.0.0/0"], OPEN),
        (["::/0"], OPEN),
        (["203.0.113.7", "0.0.0.0/0"], OPEN),
        (["0.0.0.0/1", "128.0.0.0/1"], OPEN),
        ([], OPEN),
        (["0.0.0.0/1"], OPEN),
        (["0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/3"], OPEN),
        (["16.0.0.0/7"], OPEN),
        (["16.0.0.0/8", "17.0.0.0/8"], OPEN),
        (["2001::/15"], OPEN),
        (["sip.provider.example"], "sip.provider.example is a host name"),
        (["203.0.113.7", "sip.provider.example"], "sip.provider.example is a host name"),
        (["[2001:db8::1]"], "[2001:db8::1] is a host name"),
    ],
)
def test_a_trunk_open_to_everybody_is_refused_unless_it_is_meant(addresses, said, tmp_path):
    [line] = problems_of(tmp_path, inbound(allowed_addresses=addresses))
    assert said in line
    assert "allow_open: true" in line

    assert loaded(tmp_path, inbound(allowed_addresses=addresses, allow_open=True)).inbound_trunks
    assert loaded(tmp_path, inbound(allowed_addresses=addresses, auth=AUTH)).inbound_trunks


@pytest.mark.parametrize("addresses", [["16.0.0.0/8"], ["2001:db8::/32", "2001:db8::1"]])
def test_networks_of_a_provider_need_no_password(addresses, tmp_path):
    assert loaded(tmp_path, inbound(allowed_addresses=addresses)).inbound_trunks


def test_a_trunk_that_says_nothing_is_refused_as_the_server_would(tmp_path):
    bare = {"inbound_trunks": [{"name": "in", "allow_open": True}]}

    assert "needs numbers, allowed_addresses or auth" in problems_of(tmp_path, bare)[0]


def test_the_file_that_ships_is_where_the_command_looks_for_it():
    assert SIP_FILE == ROOT / "config" / "sip.yaml"


def test_whose_the_file_is_can_be_told_although_variables_are_missing(tmp_path):
    assert owner_in({}) == "voice-ai"
    (tmp_path / "sip.yaml").write_text("owner: ${OWNER}\ninbound_trunks: [{name: '${NONE}'}]\n")
    assert owner_in({"OWNER": "staging"}, tmp_path / "sip.yaml") == "staging"

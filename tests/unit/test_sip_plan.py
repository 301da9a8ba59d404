"""The difference between a file and a server, without either."""

import pytest

from ops.sip.plan import Action, Difference, pending, plan, restoring
from ops.sip.thing import Kind, Thing, seal

OURS = "voice-ai"
TRUNK = {"numbers": ["+15555550100"], "allowed_addresses": ["203.0.113.7"]}
AUTH = {"username": "u", "password": "hush"}
RULE = {"callee": {"room_prefix": "voice-ai-call-", "randomize": True}, "trunks": ["main"]}


def thing(kind=Kind.INBOUND, name="main", owner=OURS, there="", **changes):
    """A thing of the file, or with an id of the server; None takes a field away."""
    base = RULE if kind is Kind.RULE else TRUNK
    if kind is Kind.OUTBOUND:
        base = {"address": "sip.example.test", "numbers": ["+15555550100"]}
    fields = {key: value for key, value in {**base, **changes}.items() if value is not None}
    sealed = seal(kind, name, fields) if owner else ""
    return Thing(kind, name, fields, owner, there, sealed)


def one(wanted, *there, **options):
    [change] = plan([wanted] if wanted else [], there, OURS, **options)
    return change


def fields_of(change):
    return [difference.field for difference in change.differences]


@pytest.mark.parametrize("kind", list(Kind))
def test_what_is_the_same_needs_no_change(kind):
    change = one(thing(kind), thing(kind, there="S_1"))

    assert (change.action, change.differences) == (Action.NOTHING, ())
    assert pending([change]) == []


@pytest.mark.parametrize("kind", list(Kind))
def test_what_is_missing_is_made_with_all_its_fields(kind):
    change = one(thing(kind))

    assert change.action is Action.CREATE
    assert all(difference.before is None for difference in change.differences)
    assert fields_of(change)


IN, OUT, RULES = Kind
CHANGES = [
    (IN, {"numbers": ["+15555550101"]}, {}, "numbers", Action.UPDATE),
    (IN, {"allowed_addresses": ["203.0.113.8"]}, {}, "allowed_addresses", Action.UPDATE),
    (IN, {"allowed_addresses": None}, {}, "allowed_addresses", Action.REPLACE),
    (IN, {"allowed_numbers": ["+15555550111"]}, {}, "allowed_numbers", Action.UPDATE),
    (IN, {}, {"allowed_numbers": ["+15555550111"]}, "allowed_numbers", Action.REPLACE),
    (IN, {"metadata": {"site": "lab"}}, {}, "metadata.site", Action.UPDATE),
    (IN, {}, {"metadata": {"site": "lab"}}, "metadata.site", Action.UPDATE),
    (IN, {"ringing_timeout": 20}, {}, "ringing_timeout", Action.REPLACE),
    (IN, {"max_call_duration": 20}, {"max_call_duration": 30}, "max_call_duration", Action.REPLACE),
    (IN, {"headers": {"X-A": "b"}}, {}, "headers.X-A", Action.REPLACE),
    (IN, {"include_headers": "x"}, {}, "include_headers", Action.REPLACE),
    (IN, {"media": {"encryption": "allow"}}, {}, "media.encryption", Action.REPLACE),
    (IN, {"krisp_enabled": True}, {}, "krisp_enabled", Action.REPLACE),
    (OUT, {"address": "b.example.test"}, {}, "address", Action.UPDATE),
    (OUT, {"transport": "tls"}, {}, "transport", Action.UPDATE),
    (OUT, {}, {"transport": "tls"}, "transport", Action.REPLACE),
    (OUT, {"from_host": "b.example.test"}, {}, "from_host", Action.REPLACE),
    (OUT, {"destination_country": "RU"}, {}, "destination_country", Action.REPLACE),
    (RULES, {"trunks": ["main", "ST_9"]}, {}, "trunks", Action.UPDATE),
    (RULES, {"trunks": None}, {}, "trunks", Action.REPLACE),
    (RULES, {"attributes": {"a": "b"}}, {}, "attributes.a", Action.UPDATE),
    (RULES, {}, {"attributes": {"a": "b"}}, "attributes.a", Action.REPLACE),
    (
        RULES,
        {"callee": {"room_prefix": "x-"}},
        {"callee": {"room_prefix": "y-"}},
        "callee.room_prefix",
        Action.UPDATE,
    ),
    (RULES, {"hide_phone_number": True}, {}, "hide_phone_number", Action.REPLACE),
    (RULES, {"inbound_numbers": ["+15555550111"]}, {}, "inbound_numbers", Action.REPLACE),
    (
        RULES,
        {"room_config": {"agents": [{"agent_name": "a"}]}},
        {"room_config": {"agents": [{"agent_name": "b"}]}},
        "room_config.agents[0].agent_name",
        Action.REPLACE,
    ),
]


@pytest.mark.parametrize(("kind", "wanted", "there", "field", "action"), CHANGES)
def test_one_field_is_updated_where_an_update_reaches_it(kind, wanted, there, field, action):
    change = one(thing(kind, **wanted), thing(kind, there="S_1", **there))

    assert (change.action, fields_of(change)) == (action, [field])
    assert change.there.id == "S_1"


def test_before_and_after_are_told():
    change = one(thing(numbers=["1", "2"]), thing(there="S_1", numbers=["3"]))

    assert change.differences == (Difference("numbers", ["3"], ["1", "2"]),)


def test_the_order_of_numbers_says_nothing_and_that_of_codecs_does():
    same = one(thing(numbers=["1", "2"]), thing(there="S_1", numbers=["2", "1"]))
    codecs = [{"name": "PCMA"}, {"name": "PCMU"}]
    other = one(thing(media={"codecs": codecs}), thing(there="S_1", media={"codecs": codecs[::-1]}))

    assert same.action is Action.NOTHING
    assert fields_of(other) == ["media.codecs[0].name", "media.codecs[1].name"]


def test_another_kind_of_rule_is_an_update_of_the_rule():
    change = one(thing(RULES, callee=None, direct={"room_name": "r"}), thing(RULES, there="S_1"))

    assert change.action is Action.UPDATE
    assert fields_of(change) == ["callee.room_prefix", "callee.randomize", "direct.room_name"]


def test_secrets_are_compared_and_never_told():
    change = one(thing(auth=AUTH), thing(there="S_1", auth={**AUTH, "password": "hush-old"}))

    assert change.differences == (Difference("auth.password", "***", "***"),)
    assert change.action is Action.UPDATE
    assert "hush" not in repr(change)


def test_a_realm_is_out_of_reach_of_an_update():
    change = one(thing(auth={**AUTH, "realm": "r"}), thing(there="S_1", auth=AUTH))

    assert change.action is Action.REPLACE


@pytest.mark.parametrize("shown", [None, "****", "<redacted>"])
def test_a_password_that_is_not_told_is_compared_by_its_seal(shown):
    withheld = {"username": "u", "password": shown} if shown else {"username": "u"}

    def there(password):
        sealed = seal(IN, "main", {**TRUNK, "auth": {**AUTH, "password": password}})
        return Thing(IN, "main", {**TRUNK, "auth": withheld}, OURS, "S_1", sealed)

    assert one(thing(auth=AUTH), there("hush")).action is Action.NOTHING
    changed = one(thing(auth=AUTH), there("hush-old"))
    assert changed.action is Action.UPDATE
    assert changed.differences == (
        Difference("auth.password", "(not told)" if shown else None, "***"),
    )


def test_a_pin_that_is_not_told_is_taken_for_the_same():
    wanted = thing(RULES, callee={"pin": "1234"})

    assert one(wanted, thing(RULES, there="S_1", callee={"pin": "****"})).action is Action.NOTHING
    assert one(wanted, thing(RULES, there="S_1", callee={})).action is Action.UPDATE


def test_things_of_one_name_and_different_kinds_are_different_things():
    change, gone = plan([thing(OUT)], [thing(IN, there="S_1")], OURS)

    assert (change.action, gone.action) == (Action.CREATE, Action.DELETE)


def test_what_we_own_and_no_longer_declare_is_deleted():
    assert one(None, thing(there="S_1")).action is Action.DELETE


@pytest.mark.parametrize("owner", ["", "voice-ai-staging"])
def test_what_others_own_is_left_alone(owner):
    assert plan([], [thing(owner=owner, there="S_1")], OURS) == []


@pytest.mark.parametrize("owner", ["", "voice-ai-staging"])
def test_prune_deletes_it_and_says_that_it_is_not_ours(owner):
    change = one(None, thing(owner=owner, there="S_1"), prune=True)

    assert (change.action, change.why) == (Action.DELETE, "not ours (--prune)")


def test_a_name_that_somebody_else_has_is_refused():
    change = one(thing(), thing(owner="", there="ST_1"))

    assert change.action is Action.REFUSED
    assert change.why == "is on the server (ST_1) and not ours: --adopt main takes it over"


def test_prune_does_not_delete_what_the_file_wants_to_be():
    assert one(thing(), thing(owner="", there="ST_1"), prune=True).action is Action.REFUSED


@pytest.mark.parametrize("adopt", ["main", "ST_1"])
def test_it_is_adopted_by_name_or_id_with_the_mark_as_a_difference(adopt):
    change = one(thing(), thing(owner="", there="ST_1"), adopt=[adopt])

    assert (change.action, change.there.id) == (Action.UPDATE, "ST_1")
    assert change.differences == (Difference("owner", None, OURS),)


def test_of_several_with_the_name_one_is_adopted_by_id():
    there = [thing(owner="", there=identity) for identity in ("ST_1", "ST_2")]

    change = one(thing(), *there, adopt=["main"])
    assert change.why == "several have this name: --adopt one of ST_1, ST_2"
    assert one(thing(), *there, adopt=["ST_2"]).there.id == "ST_2"


def test_of_two_that_are_ours_the_first_is_kept():
    kept, gone = plan([thing()], [thing(there="ST_1"), thing(there="ST_2")], OURS)

    assert (kept.action, kept.there.id) == (Action.NOTHING, "ST_1")
    assert (gone.action, gone.there.id) == (Action.DELETE, "ST_2")


def test_ours_is_taken_although_others_have_the_name():
    assert one(thing(), thing(owner="", there="ST_1"), thing(there="ST_2")).there.id == "ST_2"


def test_restoring_matches_by_id_makes_what_is_gone_and_deletes_what_is_new():
    saved = [thing(there="ST_1"), thing(RULES, name="rule", there="SDR_1")]
    there = [thing(name="renamed", there="ST_1", numbers=["1"]), thing(OUT, there="ST_2")]

    changed, made, gone = restoring(saved, there, OURS)

    assert (changed.action, fields_of(changed)) == (Action.UPDATE, ["name", "numbers"])
    assert (made.action, made.thing.name) == (Action.CREATE, "rule")
    assert (gone.action, gone.there.id) == (Action.DELETE, "ST_2")


def test_restoring_leaves_others_alone():
    assert restoring([], [thing(owner="", there="ST_1")], OURS) == []


def test_restoring_refuses_to_make_up_secrets():
    untold = thing(there="ST_1", auth={"username": "u"})

    [gone] = restoring([untold], [], OURS)
    [other] = restoring(
        [untold], [thing(there="ST_1", auth={"username": "u"}, numbers=["1"])], OURS
    )

    assert gone.action is Action.REFUSED
    assert "not in the saved state" in gone.why
    assert other.action is Action.UPDATE  # which leaves the password as it is

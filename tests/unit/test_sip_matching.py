"""Which trunk and rule take a call: against a table recorded from a real server, and in words."""

from collections import Counter

import pytest

from ops.sip.conflicts import conflicts
from ops.sip.matching import Call, Outcome, walk
from ops.sip.thing import Kind, Thing
from tests.sip_table import load

CALL = Call("+70000000001", "+70000000100", "203.0.113.7", "provider.test")


def trunk(name="t", owner="us", **fields):
    return Thing(Kind.INBOUND, name, fields, owner, f"ST_{name}")


def rule(name="r", **fields):
    return Thing(Kind.RULE, name, {"callee": {"room_prefix": "a"}, **fields}, "us", f"SDR_{name}")


def walked(*things, call=CALL):
    return walk(things, "us", call)


def test_every_recorded_verdict_is_ours():
    cases = load()
    ours = [walk(case.things, "", case.call) for case in cases]
    wrong = [(case, seen) for case, seen in zip(cases, ours, strict=True) if not case.agrees(seen)]
    assert not wrong
    assert len(cases) == 200
    often = Counter(seen.outcome for seen in ours)
    assert min(often[outcome] for outcome in Outcome) >= 20
    assert sum(bool(seen.equal) for seen in ours) >= 5
    assert sum(case.code == 400 and not case.trunk for case in cases) >= 20


@pytest.mark.parametrize(
    ("fields", "field", "also"),
    [
        ({"numbers": ["70000000100"]}, "", ()),
        ({"numbers": ["+7 (000) 000-01-00"]}, "", ()),
        ({"numbers": ["+70000000101"]}, "numbers", ()),
        ({"allowed_numbers": ["7 000 000 00 01"]}, "", ()),
        ({"allowed_numbers": ["+70000000002"]}, "allowed_numbers", ()),
        ({"allowed_addresses": ["203.0.113.0/24"]}, "", ()),
        ({"allowed_addresses": ["203.0.113.99/24"]}, "", ()),
        ({"allowed_addresses": ["203.0.113.7/33"]}, "allowed_addresses", ()),
        ({"allowed_addresses": ["203.0.113.7/255.255.255.0"]}, "allowed_addresses", ()),
        ({"allowed_addresses": ["provider.test"]}, "", ()),
        ({"allowed_addresses": ["sip.provider.test"]}, "allowed_addresses", ()),
        ({"allowed_addresses": ["203.0.113.8, 203.0.113.9"]}, "", ()),  # unreadable: everybody
        (
            {
                "allowed_numbers": ["+70000000002"],
                "allowed_addresses": ["203.0.113.8"],
                "numbers": ["+70000000101"],
            },
            "allowed_numbers",
            ("allowed_addresses", "numbers"),
        ),
    ],
)
def test_the_first_field_of_a_trunk_that_does_not_match_is_named(fields, field, also):
    (judged,) = walked(trunk(**fields)).trunks
    assert (judged.field, judged.also) == (field, also)


def test_a_host_name_among_addresses_is_told_to_be_no_address():
    (judged,) = walked(trunk(allowed_addresses=["sip.provider.test"])).trunks
    assert judged.why.endswith("(sip.provider.test: compared with the From header's host, never"
                               " looked up)")  # fmt: skip


def test_a_rules_numbers_are_compared_as_they_are_written():
    seen = walked(trunk(numbers=["+70000000100"]), rule(numbers=["+7 000 000-01-00"]))
    assert (seen.outcome, seen.rules[0].field) == (Outcome.DROPPED, "numbers")
    assert "as written" in seen.rules[0].why


def test_a_rule_names_our_trunk_by_name_and_others_by_id():
    ours, theirs = trunk("a", numbers=["+70000000100"]), trunk("a2", "them", numbers=["+7"])
    assert walked(ours, theirs, rule(trunks=["a"])).rule.name == "r"
    assert walked(ours, theirs, rule(trunks=["ST_a"])).rule.name == "r"
    seen = walked(ours, theirs, rule(trunks=["ST_a2"]))
    assert (seen.outcome, seen.rules[0].field) == (Outcome.DROPPED, "trunks")


def test_trunks_that_both_match_refuse_the_call():
    both = walked(
        trunk("a", numbers=["+70000000100"]),
        trunk("b", numbers=["70000000100"], allowed_numbers=["+70000000001"]),
        rule(),
    )
    assert both.outcome is Outcome.REFUSED
    assert "inbound trunk a and inbound trunk b have the number" in both.conflict
    one = walked(trunk("a", numbers=["+70000000100"]), trunk("b", allowed_addresses=[CALL.ip]))
    assert one.trunk.name == "a"  # the one that has the number goes first


def test_a_number_that_a_trunk_has_in_two_spellings_refuses_the_call():
    seen = walked(trunk(numbers=["+70000000100", "70000000100"]), rule())
    assert seen.outcome is Outcome.REFUSED
    assert "2 times" in seen.conflict


def test_the_more_a_rule_says_the_sooner_it_is_taken():
    there = [
        rule("open"),
        rule("called", numbers=["+70000000100"]),
        rule("both", numbers=["+70000000100"], inbound_numbers=["+70000000001"]),
        rule("pin", callee={"room_prefix": "a", "pin": "1"}),
    ]
    main = trunk(numbers=["+70000000100"])
    order = []
    while there:
        order.append(walked(main, *there).rule.name)
        there = [one for one in there if one.name != order[-1]]
    assert order == ["both", "called", "pin", "open"]


def test_a_rule_for_the_trunk_goes_before_one_for_all():
    main = trunk(numbers=["+70000000100"])
    seen = walked(main, rule("all", numbers=["+70000000100"]), rule("its", trunks=["t"]))
    assert seen.rule.name == "its"


def test_equal_rules_are_both_named():
    seen = walked(rule("b", inbound_numbers=["+70000000001"]), rule("a", numbers=["+70000000100"]))
    assert [one.name for one in seen.equal] == ["a", "b"]
    assert seen.rule.name == "a"


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ({"numbers": ["+70000000100"]}, {"numbers": ["7 000 000 01 00"]}, True),
        ({"numbers": ["+70000000100"]}, {"numbers": ["+70000000101"]}, False),
        ({"numbers": ["+70000000100"]}, {"allowed_addresses": ["203.0.113.7"]}, False),
        ({"allowed_addresses": ["203.0.113.0/24"]}, {"allowed_addresses": ["203.0.113.7"]}, True),
        ({"allowed_addresses": ["203.0.113.0/24"]}, {"allowed_addresses": ["2001:db8::1"]}, False),
        ({"allowed_addresses": ["one.test"]}, {"allowed_addresses": ["two.test"]}, False),
        ({"numbers": ["1"], "allowed_numbers": ["2"]}, {"numbers": ["1"]}, True),
        (
            {"numbers": ["1"], "allowed_numbers": ["2"]},
            {"numbers": ["1"], "allowed_numbers": ["3"]},
            False,
        ),
    ],
)
def test_trunks_that_can_match_the_same_call_are_found_without_one(one, other, clash):
    found = list(conflicts([trunk("a", **one), trunk("b", **other)], "us"))
    expected = "inbound trunk a and inbound trunk b match the same calls"
    assert [text.startswith(expected) for text in found] == [True] * clash


def test_conflicts_within_a_trunk_and_between_rules_are_found_without_a_call():
    twice = trunk(numbers=["+70000000100", "70000000100"])
    found = list(conflicts([twice, rule("a", trunks=["t"]), rule("b", trunks=["ST_t"])], "us"))
    assert found == [
        "inbound trunk t has the number +70000000100 more than once",
        "dispatch rule a and dispatch rule b have the same calls (trunk ST_t) with the same PIN",
    ]

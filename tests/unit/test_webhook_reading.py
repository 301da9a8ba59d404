"""Webhooks on the wire: whose they are, what is kept of them, and what never is."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from livekit import api
from livekit.protocol.models import ParticipantInfo
from pydantic import SecretStr

from agent.pseudonym import Pseudonyms
from ops.webhooks.reading import Malformed, parse, read
from ops.webhooks.redaction import redacted
from ops.webhooks.signature import Forged, verify
from tests import webhooks as hooks

OTHER, OTHERS_SECRET = "key-of-before", "secret-of-before-0123456789abcdefghij"
RING = {hooks.KEY: hooks.SECRET, OTHER: OTHERS_SECRET}
BODY = hooks.body(hooks.event("room_started", 1, room=hooks.room()))
PSEUDONYMS = Pseudonyms(b"salt")


def secret_of(key):
    return SecretStr(RING[key]) if key in RING else None


def check(token, body=BODY, max_age=300):
    verify(body, token, secret_of, max_age)


@pytest.mark.parametrize(("key", "secret"), RING.items())
def test_every_key_of_the_ring_verifies(key, secret):
    check(hooks.token(BODY, key, secret))
    check(f"Bearer {hooks.token(BODY, key, secret)}")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nonsense",
        "a.b.c",
        hooks.token(BODY, hooks.KEY, OTHERS_SECRET),
        hooks.token(BODY, "unknown", hooks.SECRET),
        hooks.token(b"another body"),
        api.AccessToken(hooks.KEY, hooks.SECRET).with_identity("somebody").to_jwt(),
        jwt.encode({"iss": hooks.KEY, "sha256": "x", "exp": time.time() + 60}, "", algorithm=None),
        jwt.encode({"iss": hooks.KEY, "sha256": "\u00e9", "exp": time.time() + 60}, hooks.SECRET),
        jwt.encode({"iss": hooks.KEY, "sha256": 7, "exp": time.time() + 60}, hooks.SECRET),
        jwt.encode({"iss": hooks.KEY, "sha256": "x"}, hooks.SECRET),
    ],
)
def test_what_was_not_signed_by_us_over_this_body_is_forged(token):
    with pytest.raises(Forged):
        check(token)


def aged(seconds, lives=3600):
    made = datetime.now(UTC) - timedelta(seconds=seconds)
    claims = jwt.decode(hooks.token(BODY), options={"verify_signature": False})
    claims |= {"nbf": made.timestamp(), "exp": (made + timedelta(seconds=lives)).timestamp()}
    return jwt.encode(claims, hooks.SECRET)


def test_a_signature_is_good_for_a_while():
    check(aged(290))
    with pytest.raises(Forged, match="too old"):
        check(aged(400))
    with pytest.raises(Forged, match="Expired"):
        check(aged(290, lives=60))


def test_callers_are_pseudonyms_in_what_is_kept():
    joined = hooks.event("participant_joined", 2, room=hooks.room(), participant=hooks.telephone())
    row = read(hooks.body(joined), PSEUDONYMS)
    assert hooks.CALLER not in str(row.body)
    assert hooks.CALLER[1:] not in str(row.body)
    person = parse(row.body).participant
    assert person.attributes["sip.phoneNumber"] == PSEUDONYMS.of_number(hooks.CALLER)
    assert person.attributes["sip.trunkPhoneNumber"] == "+15550199"
    assert person.identity == f"sip_{PSEUDONYMS.of_number(hooks.CALLER)}"
    assert person.kind == ParticipantInfo.Kind.SIP
    assert (row.id, row.event, row.room_sid) == ("EV_000002", "participant_joined", "RM_000001")
    assert row.created_at == datetime.fromtimestamp(hooks.NOON, UTC)
    assert person.joined_at_ms == hooks.NOON * 1000 + 250


def test_a_number_in_a_rooms_name_is_not_kept():
    named = {**hooks.room(), "name": f"call-_{hooks.CALLER}_abc", "metadata": hooks.CALLER}
    row = read(hooks.body(hooks.event("room_started", 1, room=named)), PSEUDONYMS)
    assert hooks.CALLER[1:] not in f"{row.room} {row.body}"
    plain = {**hooks.room(), "name": "voice-ai-call-4711081512345a"}
    row = read(hooks.body(hooks.event("room_started", 1, room=plain)), PSEUDONYMS)
    assert row.room == "voice-ai-call-4711081512345a"


CANARIES = {
    "egressInfo": {
        "egressId": "EG_1",
        "roomId": "RM_1",
        "roomComposite": {
            "file": {
                "filepath": "calls/a.ogg",
                "s3": {"accessKey": "CANARY", "secret": "CANARY", "bucket": "kept"},
            },
            "streamOutputs": [{"urls": ["rtmp://live.example.com/app/CANARY"]}],
        },
        "file": {"filename": "calls/a.ogg", "location": "/out/calls/a.ogg", "size": "12345678901"},
    },
    "ingressInfo": {"ingressId": "IN_1", "streamKey": "CANARY", "url": "rtmp://x.example/live"},
}


def test_keys_are_not_kept_and_the_rest_can_be_read():
    row = read(hooks.body(hooks.event("egress_ended", 3, **CANARIES)), PSEUDONYMS)
    assert "CANARY" not in str(row.body)
    egress = parse(row.body).egress_info
    assert egress.egress_id == "EG_1"
    assert egress.room_composite.file.s3.bucket == "kept"
    assert egress.file.location == "/out/calls/a.ogg"
    assert egress.file.size == 12345678901
    assert row.room_sid == "RM_1"


def test_passwords_in_urls_are_not_kept():
    web = {"egressId": "EG_2", "web": {"url": "https://me:CANARY@example.com/page?token=CANARY"}}
    row = read(hooks.body(hooks.event("egress_started", 3, egressInfo=web)), PSEUDONYMS)
    assert parse(row.body).egress_info.web.url == "https://example.com/page?[hidden]"


def test_an_event_of_the_future_is_kept():
    told = hooks.event("novelty", 4, novelty={"password": "CANARY", "x": [1]}, room=hooks.room())
    row = read(hooks.body(told), PSEUDONYMS)
    assert row.event == "novelty"
    assert row.body["novelty"] == {"password": "[hidden]", "x": [1]}
    assert parse(row.body).room.sid == "RM_000001"


def test_an_event_without_an_id_is_known_by_what_it_says():
    one, other = (hooks.body({"event": "x", "createdAt": at}) for at in ("1", "2"))
    assert read(one, PSEUDONYMS).id == read(one, PSEUDONYMS).id != read(other, PSEUDONYMS).id
    assert len(read(one, PSEUDONYMS).id) <= 64


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff\xfe",
        b"{}",
        b'{"event": 7}',
        b'{"event": ""}',
        b'{"event": "x", "room": 3}',
        b'{"event": "x", "createdAt": "soon"}',
        b'{"event": "' + b"x" * 100 + b'"}',
        b"[" * 100_000,
        b'{"event": "x", "y": ' + b"[" * 200 + b"]" * 200 + b"}",
    ],
)
def test_what_is_no_event_is_malformed(body):
    with pytest.raises(Malformed):
        read(body, PSEUDONYMS)


@pytest.mark.parametrize("number", ["+1 (555) 555-0100", "1-555-555-0100", "1.555.555.0100"])
def test_a_number_is_not_kept_however_it_is_written(number):
    told = {
        "identity": f"sip_{number}",
        "name": f"Phone {number}",
        "metadata": f'{{"from": "{number}"}}',
        "attributes": {"sip.h.X-Caller": number, "sip.h.Remote-Party-ID": f"<tel:{number}>"},
    }
    kept = str(redacted({"participant": told}, PSEUDONYMS))
    assert "555" not in kept.replace(caller := PSEUDONYMS.of_number("15555550100"), "")
    assert kept.count(caller) == 5


def test_a_key_in_the_words_of_an_error_is_not_kept():
    said = "cannot reach rtmps://live.example.com/app/the-key: refused"
    kept = redacted({"egressInfo": {"error": said}}, PSEUDONYMS)["egressInfo"]["error"]
    assert "the-key" not in kept
    assert "live.example.com" in kept

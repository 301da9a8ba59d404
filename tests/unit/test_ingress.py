"""What may come into a room: checked before the server is asked, the key told once."""

from __future__ import annotations

import pytest
from livekit.protocol.ingress import IngressInput

from agent.errors import NotFound, TargetRefused
from agent.livekit import LiveKit
from config.recording import Recording, Targets
from config.settings import load
from ops.front.database import Database
from ops.ingress.desk import Desk
from ops.ingress.wanted import Change, IngressRefused, Kind, Wanted, create_request, update_request
from tests.media_stand_in import MediaStandIn
from tests.programs import settings as variables_of
from tests.sip_stand_in import KEY, SECRET

LISTED = Targets(hosts=("files.example.com",))


def wanted(kind="rtmp", **values):
    return Wanted(**({"kind": Kind(kind), "room": "stage", "identity": "studio"} | values))


@pytest.mark.parametrize(
    ("kind", "kind_of_input"),
    [
        ("rtmp", IngressInput.RTMP_INPUT),
        ("rtmps", IngressInput.RTMP_INPUT),
        ("whip", IngressInput.WHIP_INPUT),
    ],
)
def test_what_is_pushed_has_no_address(kind, kind_of_input):
    request = create_request(wanted(kind))
    assert (request.input_type, request.room_name) == (kind_of_input, "stage")
    assert (request.participant_identity, request.participant_name) == ("studio", "studio")
    with pytest.raises(IngressRefused, match="use kind url"):
        create_request(wanted(kind, url="https://files.example.com/a.mp4"))


@pytest.mark.parametrize("ending", ["m3u8", "mp4", "MOV", "mp3", "ogg", "m4a", "mp4?token=x"])
def test_these_files_are_fetched(ending):
    request = create_request(wanted("url", url=f"https://files.example.com/a.{ending}"))
    assert request.input_type == IngressInput.URL_INPUT


@pytest.mark.parametrize(
    ("ending", "instead"),
    [
        ("mpd", "use HLS"),
        ("webm", "use MP4 or OGG"),
        ("mkv", "use MP4"),
        ("wav", "use OGG"),
        ("exe", "ends in"),
    ],
)
def test_others_are_refused_with_what_to_use(ending, instead):
    with pytest.raises(IngressRefused, match=instead):
        create_request(wanted("url", url=f"https://files.example.com/a.{ending}"))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"room": " "}, "room is needed"),
        ({"identity": ""}, "identity is needed"),
        ({"identity": "sip_+1"}, "beginnings of others"),
        ({"identity": "agent-1"}, "beginnings of others"),
        ({"room": "voice-ai-call-1"}, "only scope admin"),
        ({"transcode": True}, "transcode is for whip"),
        ({"kind": Kind.URL}, "ends in"),
        ({"kind": Kind.URL, "url": "https://[::1"}, "not a URL"),
    ],
)
def test_what_is_not_right_is_refused_before_the_server_is_asked(values, why):
    with pytest.raises(IngressRefused, match=why):
        create_request(wanted(**values))


def test_an_operator_may_send_into_a_call_and_whip_may_be_encoded_anew():
    request = create_request(
        wanted("whip", room="voice-ai-call-1", transcode=True), into_calls=True
    )
    assert request.enable_transcoding
    assert not create_request(wanted("whip")).HasField("enable_transcoding")


def test_a_change_is_of_what_is_named_and_of_something():
    request = update_request("IN_1", Change(room="other", enabled=False))
    assert (request.room_name, request.enabled, request.HasField("enabled")) == (
        "other",
        False,
        True,
    )
    assert request.participant_identity == ""
    with pytest.raises(IngressRefused, match="nothing to change"):
        update_request("IN_1", Change())


@pytest.fixture
async def livekit():
    async with MediaStandIn() as stand_in:
        yield stand_in


@pytest.fixture
async def desk(tmp_path, livekit):
    settings = load(environ={**variables_of(tmp_path), **livekit.variables})
    settings = settings.model_copy(update={"recording": Recording(targets=LISTED)})
    database = Database(settings.store.url)

    async def resolving(host):
        return {"files.example.com": ["93.184.215.14"]}.get(host, ["127.0.0.1"])

    async with LiveKit.of(settings.livekit, lambda: (KEY, SECRET)) as server:
        yield Desk(settings, database, server, resolving)
    await database.aclose()


async def test_one_is_made_listed_changed_and_deleted_and_its_key_told_once(desk, livekit):
    made = await desk.create(wanted(), "ann", "test")
    assert (made.id, made.stream_key, made.url) == ("IN_1", "the-stream-key", livekit.rtmp_base)
    assert "the-stream-key" not in repr(made)
    (listed,) = await desk.list("stage")
    assert (listed.stream_key, listed.kind, listed.status) == ("", "rtmp", "inactive")
    changed = await desk.update("IN_1", Change(room="other"), "ann", "test")
    assert (changed.room, changed.identity, changed.stream_key) == ("other", "studio", "")
    assert (await desk.delete("IN_1", "ann", "test")).stream_key == ""
    assert await desk.list() == []
    rows = await desk.database.run(lambda log: log.audit_trail())
    assert [row.what for row in reversed(rows)] == [
        "create ingress",
        "update ingress",
        "delete ingress",
    ]


async def test_a_source_is_fetched_from_a_listed_host_only(desk, livekit):
    made = await desk.create(wanted("url", url="https://files.example.com/a.mp4?key=x"), "ann", "t")
    assert (made.kind, made.url, made.stream_key) == ("url", "files.example.com", "")
    for url in (
        "https://evil.example/a.mp4",
        "http://127.0.0.1/a.mp4",
        "ftp://files.example.com/a.mp4",
    ):
        with pytest.raises(TargetRefused):
            await desk.create(wanted("url", url=url), "ann", "test")
    assert len(livekit.asked) == 1


async def test_a_source_by_url_cannot_be_changed(desk):
    await desk.create(wanted("url", url="https://files.example.com/a.mp4"), "ann", "test")
    with pytest.raises(IngressRefused, match="delete it, and make another"):
        await desk.update("IN_1", Change(room="other"), "ann", "test")


async def test_rtmps_of_a_server_without_tls_is_taken_back(desk, livekit):
    with pytest.raises(IngressRefused, match="RTMP without TLS only"):
        await desk.create(wanted("rtmps"), "ann", "test")
    assert livekit.ingress == {}
    livekit.rtmp_base = "rtmps://live.example.com/x"
    assert (await desk.create(wanted("rtmps"), "ann", "test")).kind == "rtmps"


async def test_what_is_not_there_is_not_found(desk):
    for work in (
        desk.delete("IN_9", "ann", "t"),
        desk.update("IN_9", Change(room="r"), "ann", "t"),
    ):
        with pytest.raises(NotFound):
            await work

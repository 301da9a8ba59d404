"""What of a call is recorded, and how egress is asked: again where that is safe, never twice."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from livekit.protocol.egress import EgressInfo, ListEgressResponse
from pydantic import SecretStr

from agent import egress_start
from agent.call import EndReason
from agent.ending import Ending
from agent.errors import PermissionDenied, Unavailable
from agent.recording import CallRecording
from config.persona import load_personas
from config.recording import Recording, Storage
from config.settings import ROOT, load

CALL = SimpleNamespace(id="a1" * 16, room="voice-ai-call-1", room_sid="RM_1")


class Egress:
    """LiveKit's egress service: what it is asked, and what it answers next."""

    def __init__(self, *failures):
        self.failures = list(failures)
        """Raised by the next requests to start; one in a list was carried out all the same."""
        self.running, self.started, self.stopped = [], [], []
        self.was_asked = asyncio.Event()

    async def list_egress(self, asked):
        assert (asked.room_name, asked.active) == (CALL.room, True)
        return ListEgressResponse(items=self.running)

    async def start_room_composite_egress(self, request):
        self.started.append(request)
        self.was_asked.set()
        failure = self.failures.pop(0) if self.failures else None
        info = EgressInfo(egress_id=f"EG_{len(self.started)}", room_composite=request)
        if isinstance(failure, list):
            self.running.append(info)
            raise failure[0]
        if failure:
            raise failure
        self.running.append(info)
        return info

    async def stop_egress(self, request):
        self.stopped.append(request.egress_id)


class Record:
    call = CALL

    def __init__(self):
        self.told, self.news = [], asyncio.Event()

    def tell(self, kind, **values):
        self.told.append((kind.kind, values))
        self.news.set()

    async def when(self, name, **values):
        async with asyncio.timeout(5):
            while not (
                found := [v for k, v in self.told if k == name and values.items() <= v.items()]
            ):
                self.news.clear()
                await self.news.wait()
        return found[0]


class Scene:
    def __init__(self, tmp_path, egress=None, *, policy="always", **section):
        self.egress, self.record, self.ending = egress or Egress(), Record(), Ending()
        section = {"storage": Storage(folder=tmp_path / "kept"), **section}
        settings = load(environ={}).model_copy(update={"recording": Recording(**section)})
        persona = load_personas(ROOT / "config" / "personas")["en"]
        persona = persona.model_copy(update={"recording": policy})
        self.recording = CallRecording(
            persona, settings, self.record, SimpleNamespace(), self.ending, self
        )

    def asked_for(self):
        return [values["by"] for kind, values in self.record.told if kind == "recording_asked"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(egress_start, "FIRST_WAIT", 0.001)


@pytest.mark.parametrize(
    ("policy", "moments", "asked"),
    [
        ("never", ("answered", "agreed"), []),
        ("always", ("answered", "agreed"), ["egress"]),
        ("consent", ("answered",), []),
        ("consent", ("answered", "agreed"), ["egress"]),
    ],
)
async def test_the_policy_says_when_it_begins(tmp_path, policy, moments, asked):
    scene = Scene(tmp_path, policy=policy)
    for moment in moments:
        getattr(scene.recording, moment)()
    if asked:
        await scene.record.when("recording_changed", status="starting", egress_id="EG_1")
    await scene.recording.aclose()
    assert scene.asked_for() == asked
    assert len(scene.egress.started) == len(asked)


async def test_what_is_asked_for_is_in_the_record_before_egress_answers(tmp_path):
    scene = Scene(tmp_path)
    scene.recording.answered()
    asked = await scene.record.when("recording_asked")
    own = f"{CALL.id}-room"
    assert asked["recording"] == own
    assert (asked["what"], asked["output"], asked["persona"]) == ("room-audio", "ogg", "en")
    assert asked["uri"] == (tmp_path / "kept" / f"{own}.ogg").as_uri()
    await scene.record.when("recording_changed")
    await scene.recording.aclose()
    (request,) = scene.egress.started
    assert request.file_outputs[0].filepath == str(tmp_path / "kept" / f"{own}.ogg")
    assert scene.egress.stopped == []  # it ends with the room


def unavailable():
    return Unavailable("no response from servers")


async def test_egress_that_is_away_is_asked_again(tmp_path):
    scene = Scene(tmp_path, Egress(unavailable(), Unavailable()))
    scene.recording.answered()
    await scene.record.when("recording_changed", egress_id="EG_3")
    await scene.recording.aclose()


async def test_a_request_that_was_carried_out_but_not_answered_is_not_repeated(tmp_path):
    scene = Scene(tmp_path, Egress([Unavailable()]))
    scene.recording.answered()
    await scene.record.when("recording_changed", status="starting", egress_id="EG_1")
    await scene.recording.aclose()
    assert len(scene.egress.started) == 1


async def test_an_egress_of_somebody_else_in_the_room_is_not_ours(tmp_path):
    scene = Scene(tmp_path)
    scene.egress.running.append(EgressInfo(egress_id="EG_theirs", room_name=CALL.room))
    scene.recording.answered()
    await scene.record.when("recording_changed", egress_id="EG_1")
    await scene.recording.aclose()


async def test_what_cannot_succeed_is_not_tried_again_and_is_an_alert(tmp_path, caplog):
    refused = PermissionDenied("no")
    scene = Scene(tmp_path, Egress(refused))
    scene.recording.answered()
    await scene.record.when("recording_changed", status="failed", error="no")
    await scene.recording.aclose()
    assert len(scene.egress.started) == 1
    assert caplog.records[-1].alert == "recording"


async def test_egress_that_stays_away_is_given_up(tmp_path):
    scene = Scene(tmp_path, Egress(*[unavailable() for _ in range(99)]), starts_within=0.02)
    scene.recording.answered()
    await scene.record.when("recording_changed", status="failed", error="no response from servers")
    await scene.recording.aclose()


async def test_a_call_that_ends_before_egress_began_says_so_and_is_no_alert(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(egress_start, "FIRST_WAIT", 5.0)
    scene = Scene(tmp_path, Egress(unavailable()))
    scene.recording.answered()
    await scene.record.when("recording_asked")
    await asyncio.wait_for(scene.egress.was_asked.wait(), 5)
    await scene.recording.aclose()
    assert scene.record.told[-1][1]["error"] == "the call ended first"
    assert "recording" not in [getattr(one, "alert", "") for one in caplog.records]


async def test_a_call_that_is_passed_on_is_not_recorded_any_more(tmp_path):
    scene = Scene(tmp_path)
    scene.recording.answered()
    await scene.record.when("recording_changed", egress_id="EG_1")
    scene.ending.decide(EndReason.TRANSFERRED)
    await scene.recording.aclose()
    assert scene.egress.stopped == ["EG_1"]


async def test_a_call_that_is_passed_on_before_egress_answered_is_not_recorded_either(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(egress_start, "FIRST_WAIT", 5.0)
    scene = Scene(tmp_path, Egress([unavailable()]))
    scene.recording.answered()
    await asyncio.wait_for(scene.egress.was_asked.wait(), 5)
    scene.ending.decide(EndReason.TRANSFERRED)
    await scene.recording.aclose()
    assert scene.egress.stopped == ["EG_1"]


async def test_a_store_in_a_private_network_that_is_not_allowed_is_refused(tmp_path):
    store = Storage(
        kind="s3",
        bucket="calls",
        region="eu-central-1",
        endpoint="http://127.0.0.1:9000",
        access_key=SecretStr("a"),
        secret=SecretStr("s"),
    )
    scene = Scene(tmp_path, storage=store)
    scene.recording.answered()
    failed = await scene.record.when("recording_changed", status="failed")
    await scene.recording.aclose()
    assert "127.0.0.1 is not a public address" in failed["error"]
    assert scene.egress.started == []

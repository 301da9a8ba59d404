"""One call under the supervisor's watch, whose clock the test holds."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from livekit import rtc
from livekit.agents import (
    ConversationItemAddedEvent,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
)
from livekit.agents.llm import ChatMessage

from agent import supervisor as module
from agent.ending import Ending
from agent.events import SILENCE_OWED
from agent.supervisor import Supervisor
from config.persona import Limits

LIMITS = Limits(
    silence_prompt=8, silence_second=6, silence_goodbye=4, max_duration=100, duration_warning=20
)


class Handle:
    """A speech that is over when the test says so."""

    def __init__(self):
        self.over = asyncio.Event()

    interrupted = False

    async def wait_for_playout(self):
        await self.over.wait()


class Voice:
    """What the supervisor knows of a mouth."""

    hushed = 0
    is_playing = is_stalled = False

    def on_heard(self, heard):
        self.heard = heard

    def on_sound(self, sounded):
        self.sounded = sounded

    def hush(self):
        self.hushed += 1


class Session(rtc.EventEmitter):
    """What the supervisor knows of a session."""

    stt = llm = None

    def __init__(self):
        super().__init__()
        self.interrupts = 0

    def interrupt(self, *, force=False):
        assert force
        self.interrupts += 1
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class Scene:
    """One call under watch, whose clock is `now`."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        self.owed = []
        self.said, self.notes, self.handle = asyncio.Queue(), [], Handle()
        self.session, self.ending = Session(), Ending()
        monkeypatch.setattr(module, "TICK", 0.0)
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.mouth, self.given_up = Voice(), asyncio.Queue()
        self.supervisor = Supervisor(self.session, self, LIMITS, self, self.ending, self)

    def say(self, _session, name, *, interruptible=True):
        self.said.put_nowait((name, interruptible))
        return self.handle

    def note(self, name, **detail):
        self.notes.append(name)
        if name == SILENCE_OWED:
            self.owed.append(detail["seconds"])

    def starts(self):
        """The supervisor begins, and the greeting is heard."""
        self.supervisor.start(self.mouth)
        self.mouth.heard(True)
        self.mouth.heard(False)

    def asks(self, at):
        """The caller's turn ends `at`, and is committed."""
        self.now = at
        speaking = UserStateChangedEvent(old_state="listening", new_state="speaking")
        silent = UserStateChangedEvent(old_state="speaking", new_state="listening")
        self.session.emit("user_state_changed", speaking)
        self.session.emit("user_input_transcribed", transcript("hello", final=True))
        self.session.emit("user_state_changed", silent)
        item = ChatMessage(role="user", content=["hello"])
        self.session.emit("conversation_item_added", ConversationItemAddedEvent(item=item))

    async def goes_on_until(self, now):
        """Time passes as it does where nothing stands still."""
        while self.now < now:
            self.now = min(now, self.now + 0.25)
            for _ in range(3):
                await asyncio.sleep(0)

    # As the rescue:

    def prepare_soon(self, mouth):
        assert mouth is self.mouth

    async def fill(self, mouth):
        assert mouth is self.mouth
        self.said.put_nowait("filler")

    async def give_up(self, mouth, cause):
        assert mouth is self.mouth
        self.given_up.put_nowait(cause)

    async def next(self):
        return await asyncio.wait_for(self.said.get(), 5)


def transcript(text, *, final):
    return UserInputTranscribedEvent(transcript=text, is_final=final)

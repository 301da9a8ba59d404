"""Which recognisers listen: one while all is well, more while it is in doubt who hears.

A connection that breaks is made again once, if it has worked; then the next provider's turn
comes. One that goes quiet is kept, and raced by a new connection of the same provider and, a
little later, by the next one: noise that the detector took for speech must cost nobody a good
connection. The first words choose who is listened to; a final transcript settles it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from livekit.agents import APITimeoutError

from agent import log
from agent.availability import Availability, State, is_refusal, status_of
from agent.listener import Listener
from agent.unheard import Unheard

logger = log.get(__name__)

KIND = "stt"

STEP, STEP_WHOLE, STEP_SPEAKING = 0.6, 1.5, 1.5
"""Seconds that a new connection has before the next one is opened beside it: after the caller
has finished, the same for one that hears whole utterances, and while the caller speaks."""

FRUITLESS = 1.0
"""Seconds more, then what nobody understood was noise."""

PROVEN = 2.0
"""Seconds after which a connection that did not break has worked."""

MURMUR = 1.5
"""Seconds of speech of which a recogniser may rightly make nothing."""

STALE = 4.0
"""Seconds after which a noise too short to be missed is forgotten."""

CALM = 1.0
"""Seconds of silence in which a better provider takes over again."""

DEAF = 2.0
"""Seconds after the caller has finished when it is told that nobody can hear."""

MUTE = 3
"""Sentences in a row of which no connection tells anything until that is a failure: fewer are taken
for noise, after which the caller is asked to say it again."""

PAUSES = (0.5, 1.0, 2.0, 4.0, 5.0)
"""Seconds before all are tried again when none is left."""


class Relay:
    """The listeners of one caller: the first is trusted, the others race it.

    What its methods return is to be closed.
    """

    def __init__(
        self,
        names: Sequence[str],
        availability: Availability,
        unheard: Unheard,
        listen: Callable[[str], Listener],
        deaf: Callable[[], None],
    ) -> None:
        """`listen` opens a connection that has heard all that waits for its transcript."""
        self._names = list(names)
        self._availability = availability
        self._unheard = unheard
        self._listen = listen
        self._deaf = deaf
        self.listeners: list[Listener] = []
        self.caught_up = asyncio.Event()
        """Not set while speech is heard a second time."""
        self.caught_up.set()
        self._trouble_since: float | None = None
        self._again = ""
        self._tried: set[str] = set()
        self._broken: set[str] = set()
        self._doubted = ""
        self._connections = 0
        """Those of this trouble."""
        self._retry_at = 0.0
        self._passes = 0
        self._deaf_told = False
        self._mute = 0

    @property
    def provider(self) -> str:
        """Who is trusted; empty while nobody listens."""
        return self.listeners[0].name if self.listeners else ""

    def is_trusted(self, listener: Listener) -> bool:
        """Whether what `listener` tells is to be believed."""
        return bool(self.listeners) and self.listeners[0] is listener

    def begin(self, now: float) -> None:
        """Open the first connection."""
        self._open_next(now)

    def is_hearing(self, now: float) -> bool:
        """Whether a transcript may still come without anything being wrong."""
        return bool(self.listeners) and self._unheard.is_expected(
            now, interims=self.listeners[0].interims
        )

    def is_awaited(self, now: float, *, has_interim: bool) -> bool:
        """Whether more words of what the caller has said are about to come.

        `has_interim`: some were told, and are not final yet.
        """
        if not self.caught_up.is_set():
            return True
        if not self.is_hearing(now) or self._unheard.is_speaking:
            return False
        trusted = self.listeners[0]
        return has_interim if trusted.interims else trusted.is_awaited(self._unheard.silent_at, now)

    def heard(self, listener: Listener, now: float, *, news: bool = True) -> list[Listener]:
        """`listener` understood words: whoever raced it has lost.

        Without `news` it was an interim of what was played to it, which may be withdrawn once
        more: the trouble goes on.
        """
        self._unheard.word(now)
        self._mute = 0
        before, self.listeners = self.listeners, [listener]
        if news:
            self._availability.answered(KIND, listener.name)
        if news and self._trouble_since is not None:
            after = round(now - self._trouble_since, 2)
            logger.info("the caller is heard again", provider=listener.name, after=after)
            if self._doubted != listener.name:
                self._availability.failed(KIND, self._doubted, APITimeoutError("no transcript"))
            self._settled()
        return [other for other in before if other is not listener]

    def heard_nothing(self, listener: Listener, until: float | None = None) -> list[Listener]:
        """`listener` heard speech end and made no words of it: of a murmur, that is an answer.

        So it is when it withdrew its words, the second time that the same was heard. `until`: the
        end of that speech in the audio, where more of it may wait for its own answer.
        """
        if self._unheard.is_speaking or self._unheard.spoken > MURMUR:
            return []
        if self._trouble_since is None:
            if listener.has_withdrawn:
                return []
        elif listener.opened_at < self._trouble_since:
            return []  # it is the one in doubt
        if until is None:
            self._unheard.was_noise()
        else:
            self._unheard.understood(until)
        return self._keep_best()

    def broke(self, listener: Listener, error: Exception, now: float) -> None:
        """`listener` has ended by itself."""
        newest = listener is self._newest
        self._in_trouble(now)
        self.listeners.remove(listener)
        worked = listener.has_answered or now - listener.opened_at >= PROVEN
        again = worked and listener.name not in self._tried and not is_refusal(error)
        raced = listener.name in {each.name for each in self.listeners}
        logger.warning(
            "a recogniser broke off",
            provider=listener.name,
            error=type(error).__name__,
            status=status_of(error),
            action="connect again" if again or raced else "next provider",
        )
        if again and not raced:
            self._again = listener.name
        elif not raced:
            self._tried.add(listener.name)
            self._broken.add(listener.name)
            self._availability.failed(KIND, listener.name, error)
        if newest or not self.listeners:
            self._open_next(now)

    def look(self, now: float) -> list[Listener]:
        """Do what is due."""
        self.look_at_backlog()
        shed: list[Listener] = []
        if not self.listeners:
            if now >= self._retry_at:
                self._tried.clear()
                self._open_next(now)
        elif self._trouble_since is not None:
            shed = self._look_in_trouble(now)
        elif self._unheard.is_overdue(now, interims=self.listeners[0].interims):
            self._again = self.provider
            logger.warning("a recogniser is quiet", provider=self.provider, action="race it")
            self._in_trouble(now)
            self._open_next(now)
        else:
            if self._unheard.silent_for(now) > STALE:
                self._unheard.was_noise()
            shed = self._return(now)
        self._look_for_deafness(now)
        return shed

    def look_at_backlog(self) -> None:
        """When no speech waits any more, all was caught up with."""
        if not self._unheard.is_pending:
            self.caught_up.set()

    def _look_in_trouble(self, now: float) -> list[Listener]:
        newest = self._newest
        if not self._unheard.is_pending:
            if now - newest.opened_at >= PROVEN:
                return self._keep_best()
            return []
        waited = min(now - newest.opened_at, self._unheard.quiet_for(now))
        if self._unheard.is_speaking:
            if newest.interims and waited >= STEP_SPEAKING:
                self._open_next(now)
            return []
        waited = min(waited, self._unheard.since_speech(now))
        step = STEP if newest.interims else STEP_WHOLE
        if waited < step or self._open_next(now) or waited < step + FRUITLESS:
            return []
        return self._give_up(now)

    def _give_up(self, now: float) -> list[Listener]:
        """Nobody has made words of it, and nobody is left to be asked."""
        if any(each.is_asking(now) for each in self.listeners):
            return []
        if self._is_mute(now) and not self._deaf_told:
            self._mute += 1
            if self._mute >= MUTE:
                return self._fail_all(now)
        if self._is_hopeful or self._deaf_told:
            logger.info("nobody made words of it", seconds=round(self._unheard.spoken, 1))
            self._unheard.was_noise()
            return self._keep_best()
        return []

    def _is_mute(self, now: float) -> bool:
        """Whether of a sentence nobody has shown that anything was heard at all."""
        told = any(self._unheard.has_told(each.told_at, now) for each in self.listeners)
        return self._connections > 1 and self._unheard.spoken > MURMUR and not told

    def _fail_all(self, now: float) -> list[Listener]:
        """Whoever listens does not answer. What was said is kept for those who come back."""
        silent, self.listeners = self.listeners, []
        for name in dict.fromkeys(each.name for each in silent):
            logger.warning("a recogniser does not answer", provider=name)
            self._tried.add(name)
            self._broken.add(name)
            self._availability.failed(KIND, name, APITimeoutError("nothing was heard"))
        self._open_next(now)
        return silent

    def _return(self, now: float) -> list[Listener]:
        """Go back to a better provider, in a silence."""
        best = self._first_up()
        quiet = not self._unheard.is_pending and self._unheard.since_speech(now) >= CALM
        if not best or not quiet or self._names.index(best) >= self._names.index(self.provider):
            return []
        logger.info("a better recogniser takes over", provider=best, instead_of=self.provider)
        before, self.listeners = self.listeners, [self._listen(best)]
        return before

    def _open_next(self, now: float) -> bool:
        """Connect to whoever has not been tried in this trouble; False: nobody is left."""
        name = self._next()
        self._again = ""
        if name:
            self._tried.add(name)
            self._connections += 1
            self.listeners.append(self._listen(name))
        elif not self.listeners:
            self._retry_at = now + PAUSES[min(self._passes, len(PAUSES) - 1)]
            self._passes += 1
        return bool(name)

    def _next(self) -> str:
        if self._again:
            return self._again
        fresh = [name for name in self._names if name not in self._tried]
        up = [name for name in fresh if self._availability.is_up(KIND, name)]
        if up:
            return up[0]
        # Nobody else is known to be up: better one that was down a moment ago than none.
        down = [n for n in fresh if self._availability.state(KIND, n) is State.DOWN]
        return down[0] if down else ""

    def _first_up(self) -> str:
        return next((n for n in self._names if self._availability.is_up(KIND, n)), "")

    def _in_trouble(self, now: float) -> None:
        if self._trouble_since is None:
            self._trouble_since = now
            self._doubted, self._connections = self.provider, len(self.listeners)
            self._tried.clear()
            self._broken.clear()
        if self._unheard.is_pending:
            self.caught_up.clear()

    def _settled(self) -> None:
        self._trouble_since = None
        self._deaf_told = False
        self._passes = 0
        self._tried.clear()
        self._broken.clear()

    def _keep_best(self) -> list[Listener]:
        """End the trouble with the newest connection of the best provider that there is."""
        before = self.listeners
        best = min(before, key=lambda each: (self._names.index(each.name), -each.opened_at))
        self.listeners = [best]
        self._settled()
        return [other for other in before if other is not best]

    def _look_for_deafness(self, now: float) -> None:
        """Tell once when the caller has finished and whoever could have heard it is gone."""
        if self._deaf_told or not self._unheard.is_pending:
            return
        if not self._is_hopeful and self._unheard.since_speech(now) >= DEAF:
            self._deaf_told = True
            logger.error("no recogniser is left", providers=self._names)
            self._deaf()

    @property
    def _is_hopeful(self) -> bool:
        """Whether anybody listens who has not failed in this trouble."""
        return any(each.name not in self._broken for each in self.listeners)

    @property
    def _newest(self) -> Listener:
        return max(self.listeners, key=lambda each: each.opened_at)

"""How good the line sounds: an estimate of MOS from what the room reports of the caller's audio.

The E-model of ITU-T G.107 rates a connection R = Ro - Is - Id - Ie_eff + A. With its default
values Ro - Is is 93.2 and A is 0. The delay term is the widely used approximation of G.107's Id
for an echo-free line (Cole and Rosenbluth, 2001); the loss term is G.107's Ie_eff with the values
of ITU-T G.113 for G.711 with packet loss concealment (Ie 0, Bpl 25.1), for loss without bursts.
R becomes MOS by G.107, Annex B.

Limits: it sees packets, not sound (no echo, no noise, no level). For a telephone caller it sees
only the leg between livekit-sip and the server, not the one from the caller to livekit-sip. Opus
hides losses better than G.711: for a browser the estimate is on the low side.
"""

from __future__ import annotations

from dataclasses import dataclass

R_DEFAULT = 93.2
"""Ro - Is with the default values of G.107."""

EQUIPMENT, ROBUSTNESS = 0.0, 25.1
"""Ie and Bpl of G.711 with packet loss concealment (G.113, Appendix I)."""

OWN_DELAY = 0.04
"""Seconds that packets and codecs add: one frame of 20 ms on either side."""


EVERY = 10.0
"""Seconds over which a link is measured."""

FEWEST = 25
"""Packets without which there is no measure: half a second of audio. A telephone that sends no
silence, or a muted browser, is not a bad line."""

AUDIBLE = 0.1
"""Points of MOS by which the line has to differ from what was told last to be told anew."""


@dataclass(frozen=True, slots=True)
class Link:
    """What was measured over some seconds. `jitter` and `round_trip` are seconds, `loss` 0 to 1."""

    loss: float
    jitter: float
    round_trip: float = 0.0


@dataclass(frozen=True, slots=True)
class Counters:
    """What the room reports of an audio track that it sends us, since the track began."""

    received: int = 0
    lost: int = 0
    """Packets; late ones are counted back, so that it may fall."""
    jitter: float = 0.0
    round_trip: float = 0.0


class Meter:
    """Measures one caller's link from counters; every `now` is seconds on one clock."""

    def __init__(self) -> None:
        self._began: Counters | None = None
        self._began_at = 0.0

    def counted(self, counters: Counters, now: float) -> Link | None:
        """The link, every EVERY seconds in which something came of it."""
        if self._began is None or counters.received < self._began.received:
            self._began, self._began_at = counters, now  # the first look, or another track
            return None
        if now - self._began_at < EVERY:
            return None
        received = counters.received - self._began.received
        lost = max(0, counters.lost - self._began.lost)
        self._began, self._began_at = counters, now
        if received + lost < FEWEST:
            return None
        return Link(lost / (received + lost), counters.jitter, counters.round_trip)


def mos(link: Link) -> float:
    """The mean opinion score of such a connection, 1 (bad) to 4.4 (as good as a telephone gets)."""
    # A jitter buffer waits about twice the mean deviation for the late ones.
    delay = link.round_trip / 2 + 2 * link.jitter + OWN_DELAY
    rating = R_DEFAULT - _delay_impairment(delay * 1000) - _loss_impairment(link.loss * 100)
    if rating <= 0:
        return 1.0
    score = 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6
    return min(max(score, 1.0), 4.5)


def _delay_impairment(milliseconds: float) -> float:
    beyond = max(0.0, milliseconds - 177.3)
    return 0.024 * milliseconds + 0.11 * beyond


def _loss_impairment(percent: float) -> float:
    return EQUIPMENT + (95 - EQUIPMENT) * percent / (percent + ROBUSTNESS)

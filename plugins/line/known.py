"""Which of some known sounds are in a recording, how much of them, and when. Pure.

Speech that was synthesised is found by its waveform: the normalised cross-correlation of each
piece of it with the recording. What did not reach the recording cannot be found in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from plugins.line.g711 import RATE, Samples
from plugins.line.hearing import amplitude

Wave: TypeAlias = NDArray[np.float32]
Spectrum: TypeAlias = NDArray[np.complex64]

HALF = RATE // 2
"""Samples a second in which sounds are compared."""
BAND = 1000
"""Hz. Above it two syntheses of the same text differ, and a half sample of delay matters."""
SHORTEST = 0.3
"""Seconds of a piece: words that are shorter are taken together with the next."""
ALIKE = 0.65
"""The correlation from which a piece is the same sound; other speech stays below 0.5, but for
words that two texts share."""
FAINT = 0.3
"""The correlation that is enough in the very place where the pieces beside it were heard."""
CLEAR = 0.55
"""The correlation that two pieces must have at least, where none is heard ALONE."""
ALONE = 0.8
"""The correlation from which a piece of several counts though none beside it was heard."""
LONG = 0.6
"""Seconds from which a piece needs only be ALIKE, where one utterance is to be told."""
JITTER = 0.06
"""Seconds by which a place may differ from where it is expected."""
CANDIDATES = 6
"""Texts whose pieces are looked for where one utterance is to be told."""
LEAST_SHARE = 0.15
"""Of a text of several pieces: a single one that is less of it counts as chance."""
_FLOOR = float(amplitude(-40.0)) ** 2


@dataclass(frozen=True, slots=True)
class Piece:
    """Some words of a known text that were heard, in seconds of the recording."""

    text: str
    """The whole text."""
    number: int
    """The place of the piece in it, from 0."""
    words: str
    start: float
    end: float
    likeness: float
    """The correlation with the known sound, up to 1."""
    begun: float
    """When the text began, if it was heard without a gap."""


@dataclass(frozen=True, slots=True)
class Told:
    """One time that a known text was heard, as a whole or in part."""

    text: str
    pieces: tuple[Piece, ...]
    share: float
    """How much of the text was heard, 0 to 1."""

    @property
    def start(self) -> float:
        """When its first piece began."""
        return self.pieces[0].start

    @property
    def end(self) -> float:
        """When its last piece ended."""
        return self.pieces[-1].end

    @property
    def words(self) -> str:
        """What of it was heard."""
        return " ".join(piece.words for piece in self.pieces)


@dataclass(slots=True)
class _Text:
    text: str
    wave: Wave
    pieces: list[tuple[str, int, int]]
    """Words, and their first and last sample."""
    energy: float = field(init=False)

    def __post_init__(self) -> None:
        self.energy = float(np.sum(np.square(self.wave))) or 1.0


class KnownSounds:
    """Texts and how they sound, at 8 kHz. A text may be there twice: no two syntheses are equal."""

    def __init__(self, sounds: Iterable[tuple[str, Samples]]) -> None:
        self._texts = [
            _Text(text, wave := _halved(sound), _pieces(text, len(wave)))
            for text, sound in sounds
            if len(sound) > RATE * SHORTEST
        ]

    def utterance(self, heard: Samples) -> Told | None:
        """The one text that somebody says in `heard`, or as much of it as is there."""
        sound = _Sound(_halved(heard))
        takes: dict[str, list[_Text]] = {}
        for text in self._texts:
            takes.setdefault(text.text, []).append(text)
        ranked = sorted(takes.values(), key=lambda each: sound.likeness(each[0]), reverse=True)
        best = [take for each in ranked[:CANDIDATES] for take in each]
        there = [told for text in best for told in _times(text, sound, long=LONG)]
        return max(there, key=_weight, default=None)

    def all_in(self, recording: Samples) -> list[Told]:
        """Every time that any of the texts is heard in a recording, in order."""
        sound = _Sound(_halved(recording))
        found = [told for text in self._texts for told in _times(text, sound)]
        taken: list[Told] = []
        for told in sorted(found, key=_weight, reverse=True):
            # The same words may be in two texts: the better match has them.
            others = [piece for one in taken for piece in one.pieces]
            left = [p for p in told.pieces if not any(_overlap(p, q) for q in others)]
            if left:
                share = told.share * sum(map(_length, left)) / sum(map(_length, told.pieces))
                again = Told(told.text, tuple(left), share)
                taken += [again] if _is_no_chance(again) else []
        return sorted(taken, key=lambda told: told.start)


class _Sound:
    """A recording that is searched."""

    def __init__(self, wave: Wave) -> None:
        self._wave = wave
        self._sums = np.concatenate(([0.0], np.cumsum(np.square(wave, dtype=np.float64))))
        self._size = 1 << max(12, int(np.ceil(np.log2(2 * len(wave) + 1))))
        self._spectrum = np.fft.rfft(wave, self._size)

    def likeness(self, text: _Text) -> float:
        """How much of a whole text is here in one place: 1 is all of it and nothing else."""
        if not len(self._wave):
            return 0.0
        peak = float(self._against(text.wave).max())
        return peak / float(np.sqrt(text.energy * max(self._sums[-1], _FLOOR)))

    def places(self, text: _Text) -> list[Piece]:
        """Every place where a piece of a text may be."""
        return [piece for n in range(len(text.pieces)) for piece in self._alike(text, n)]

    def _alike(self, text: _Text, number: int) -> Iterator[Piece]:
        words, first, last = text.pieces[number]
        wave = text.wave[first:last]
        length = len(wave)
        if length > len(self._wave):
            return
        here = self._against(wave)[: len(self._wave) - length + 1]
        energy = self._sums[length:] - self._sums[:-length]
        own = float(np.sum(np.square(wave, dtype=np.float64)))
        likeness = here / np.sqrt(np.maximum(energy, _FLOOR * length) * max(own, 1.0))
        for at in _peaks(likeness, length):
            start, end = at / HALF, (at + length) / HALF
            yield Piece(
                text.text, number, words, start, end, float(likeness[at]), (at - first) / HALF
            )

    def _against(self, wave: Wave) -> NDArray[np.float64]:
        spectrum = np.conj(np.fft.rfft(wave, self._size))
        return np.asarray(np.fft.irfft(self._spectrum * spectrum, self._size))


def _peaks(likeness: NDArray[np.float64], apart: int) -> list[int]:
    """Where it is highest and at least FAINT, no two nearer than half of `apart`."""
    peaks: list[int] = []
    left = np.flatnonzero(likeness >= FAINT)
    while len(left):
        best = int(left[np.argmax(likeness[left])])
        peaks.append(best)
        left = left[np.abs(left - best) >= apart / 2]
    return peaks


def _times(text: _Text, sound: _Sound, long: float = math.inf) -> list[Told]:
    """The times that a text was said: runs of its pieces, a later one perhaps after a gap.

    A piece that lasts `long` seconds is heard for certain.
    """
    runs = sorted(_runs(sound.places(text), len(text.pieces), long), key=lambda run: run[0].start)
    said: list[list[Piece]] = []
    for run in runs:
        rest = _after(said[-1], run) if said else []
        if rest:
            said[-1] += rest
        else:
            said.append(run)
    whole = text.pieces[-1][2] / HALF
    told = [Told(text.text, tuple(run), sum(map(_length, run)) / whole) for run in said]
    return [one for one in told if _is_no_chance(one)]


def _is_no_chance(told: Told) -> bool:
    return len(told.pieces) > 1 or told.share >= LEAST_SHARE


def _after(said: list[Piece], run: list[Piece]) -> list[Piece]:
    """What of `run` goes on where `said` ended; the piece at a gap may have been found twice."""
    rest = run[1:] if run[0].number == said[-1].number else run
    last = said[-1]
    return (
        rest
        if rest and last.number < rest[0].number and last.end <= rest[0].start + 2 * JITTER
        else []
    )


def _runs(places: list[Piece], pieces: int, long: float) -> Iterator[list[Piece]]:
    """Pieces that were heard in one flow, the best first; each place is in one run at most."""
    left = sorted(places, key=lambda piece: piece.likeness, reverse=True)
    while left and left[0].likeness >= ALIKE:
        seed = left[0]
        best: dict[int, Piece] = {}
        for piece in left:
            if abs(piece.begun - seed.begun) <= JITTER:
                best.setdefault(piece.number, piece)
        run = sorted(best.values(), key=lambda piece: piece.number)
        left = [piece for piece in left if not any(_overlap(piece, other) for other in run)]
        clear = sum(piece.likeness >= CLEAR for piece in run)
        if clear > 1 or pieces == 1 or seed.likeness >= ALONE or _length(seed) >= long:
            yield run


def _weight(told: Told) -> float:
    """How well it was heard. Of two texts with the same words the one that ends there counts."""
    return sum(p.likeness**2 * _length(p) for p in told.pieces) * (1 + told.share) / 2


def _length(piece: Piece) -> float:
    return piece.end - piece.start


def _overlap(one: Piece, other: Piece) -> bool:
    shared = min(one.end, other.end) - max(one.start, other.start)
    return shared > min(_length(one), _length(other)) / 2


def _pieces(text: str, length: int) -> list[tuple[str, int, int]]:
    """The words of a text, taken together to SHORTEST; each as long as its share of the letters."""
    words = text.split()
    edges = np.cumsum([0, *(len(word) + 1 for word in words)])
    edges = np.rint(edges * (length / edges[-1])).astype(int)
    found: list[tuple[str, int, int]] = []
    first, group = 0, list[str]()
    for word, end in zip(words, edges[1:], strict=True):
        group.append(word)
        if end - first >= SHORTEST * HALF:
            found.append((" ".join(group), first, int(end)))
            first, group = int(end), []
    if group and found:
        before, start, _ = found.pop()
        found.append((" ".join([before, *group]), start, length))
    return found or [(text, 0, length)]


def _halved(sound: Samples) -> Wave:
    """At half the rate, without what that cannot carry."""
    filtered = np.convolve(sound.astype(np.float32), _low_pass(), mode="same")
    return np.asarray(filtered[::2], dtype=np.float32)


@lru_cache(maxsize=1)
def _low_pass() -> Wave:
    taps = np.arange(-31, 32)
    kernel = np.sinc(taps * 2 * BAND / RATE) * np.hamming(len(taps))
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)

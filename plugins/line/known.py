"""Which of some known sounds are in a recording, how much of them, and when. Pure.

Speech that was synthesised is found by its waveform: the normalised cross-correlation of each
piece of it with the recording. What did not reach the recording cannot be found in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
"""Samples a second in which sounds are compared: speech has its strength below 2 kHz."""
SHORTEST = 0.3
"""Seconds of a piece: words that are shorter are taken together with the next."""
ALIKE = 0.6
"""The correlation from which a piece is the same sound; other speech stays below 0.5."""
CANDIDATES = 4
"""Texts whose pieces are looked for where one utterance is to be told."""
_FLOOR = float(amplitude(-55.0)) ** 2


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
    """Texts and how they sound, at 8 kHz."""

    def __init__(self, sounds: Mapping[str, Samples]) -> None:
        self._texts = [
            _Text(text, wave := _halved(sound), _pieces(text, len(wave)))
            for text, sound in sounds.items()
            if len(sound) > RATE * SHORTEST
        ]

    def utterance(self, heard: Samples) -> Told | None:
        """The one text that somebody says in `heard`, or as much of it as is there."""
        sound = _Sound(_halved(heard))
        ranked = sorted(
            ((sound.likeness(text), number) for number, text in enumerate(self._texts)),
            reverse=True,
        )
        found = [_told(self._texts[n], sound.first(self._texts[n])) for _, n in ranked[:CANDIDATES]]
        there = [told for told in found if told]
        return max(there, key=lambda told: sum(p.end - p.start for p in told.pieces), default=None)

    def all_in(self, recording: Samples) -> list[Told]:
        """Every time that any of the texts is heard in a recording, in order."""
        sound = _Sound(_halved(recording))
        found = [told for text in self._texts for told in _times(text, sound.each(text))]
        found.sort(key=lambda told: -sum(piece.end - piece.start for piece in told.pieces))
        taken: list[Told] = []
        for told in found:  # the same words may be in two texts: the longer match has them
            pieces = [p for p in told.pieces if not any(_overlap(p, q) for q in _all(taken))]
            if pieces and (again := _told_of(told, pieces)):
                taken.append(again)
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

    def first(self, text: _Text) -> list[Piece]:
        """Each piece at its best place, as far as they are here and in order."""
        found: list[Piece] = []
        for number in range(len(text.pieces)):
            best = max(self._alike(text, number), default=None)
            if best and (not found or best[1].start > found[-1].start):
                found.append(best[1])
        return found

    def each(self, text: _Text) -> list[Piece]:
        """Every place of every piece, in order of time."""
        places = [p for n in range(len(text.pieces)) for _, p in self._alike(text, n)]
        return sorted(places, key=lambda piece: piece.start)

    def _alike(self, text: _Text, number: int) -> list[tuple[float, Piece]]:
        words, first, last = text.pieces[number]
        wave = text.wave[first:last]
        length = len(wave)
        if length > len(self._wave):
            return []
        here = self._against(wave)[: len(self._wave) - length + 1]
        energy = self._sums[length:] - self._sums[:-length]
        own = float(np.sum(np.square(wave, dtype=np.float64)))
        likeness = here / np.sqrt(np.maximum(energy, _FLOOR * length) * max(own, 1.0))
        found = []
        for at in _peaks(likeness, length):
            piece = Piece(text.text, number, words, at / HALF, (at + length) / HALF)
            found.append((float(likeness[at]), piece))
        return found

    def _against(self, wave: Wave) -> NDArray[np.float64]:
        spectrum = np.conj(np.fft.rfft(wave, self._size))
        return np.asarray(np.fft.irfft(self._spectrum * spectrum, self._size))


def _peaks(likeness: NDArray[np.float64], apart: int) -> list[int]:
    """Where it is highest and at least ALIKE, no two nearer than `apart`."""
    peaks: list[int] = []
    left = np.flatnonzero(likeness >= ALIKE)
    while len(left):
        best = int(left[np.argmax(likeness[left])])
        peaks.append(best)
        left = left[np.abs(left - best) >= apart]
    return peaks


def _times(text: _Text, places: list[Piece]) -> Iterable[Told]:
    """Parts the places of a text's pieces into the times that it was said."""
    said: list[Piece] = []
    for piece in places:
        if said and piece.number <= said[-1].number:
            if told := _told(text, said):
                yield told
            said = []
        said.append(piece)
    if told := _told(text, said):
        yield told


def _told(text: _Text, pieces: list[Piece]) -> Told | None:
    if not pieces:
        return None
    heard = sum(text.pieces[p.number][2] - text.pieces[p.number][1] for p in pieces)
    return Told(text.text, tuple(pieces), heard / text.pieces[-1][2])


def _told_of(told: Told, pieces: list[Piece]) -> Told | None:
    """The same with fewer pieces."""
    left = sum(p.end - p.start for p in pieces) / sum(p.end - p.start for p in told.pieces)
    return Told(told.text, tuple(pieces), told.share * left)


def _all(told: Iterable[Told]) -> Iterable[Piece]:
    return (piece for one in told for piece in one.pieces)


def _overlap(one: Piece, other: Piece) -> bool:
    shared = min(one.end, other.end) - max(one.start, other.start)
    return shared > 0.5 * min(one.end - one.start, other.end - other.start)


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
    taps = np.arange(-15, 16)
    kernel = np.sinc(taps / 2) / 2 * np.hamming(len(taps))
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)

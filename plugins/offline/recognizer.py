"""PocketSphinx with a small vocabulary: samples in, words and a confidence out."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

import numpy as np
import pocketsphinx
from numpy.typing import NDArray

from plugins.offline.language_model import (
    DIGITS,
    SAYINGS,
    LanguageModel,
    expects_digit,
    vocabulary,
    words_of,
)
from plugins.offline.pronunciation import look_up, pronounce

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16000

NOISE = -50.0
"""dBFS of the white noise added: the empty half of a telephone's spectrum would break the model."""
LANGUAGE_WEIGHT = 13.0
"""How much the sentences count against the sound; the model's own default is 6.5."""
LEAST_CONFIDENCE = 0.1
"""Below it nothing was heard: three of four transcripts of unknown speech, 1 % of right ones."""
EXPECTED_DIGIT = -0.03
"""How expected a digit is taken to be: the logarithm of the score of a usual word."""
LONGEST_PAUSE = 3.0
"""Seconds of silence in a number that is being spelled."""
TELEPHONE_CMN = "58,4.1,-5,10.4,-7.5,-3.7,3.5,-9.4,0.7,-0.5,-2.6,2,-4.9"
"""Mean cepstrum of synthesised and human voices over G.711 with that noise: where one starts."""

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Heard:
    """What was understood, and how well the sound fits it (0 to 1)."""

    text: str
    confidence: float


class Grammar:
    """The words and sentences of a persona, ready for any number of decoders."""

    def __init__(self, phrases: Sequence[str]) -> None:
        sounds = {word: pronounce(word) for word in vocabulary(phrases)}
        known = frozenset(word for word, ways in sounds.items() if ways)
        if mute := sorted(sounds.keys() - known):
            logger.warning("words that cannot be recognised: %s", ", ".join(mute))
        self.dictionary = "".join(
            f"{word}{f'({n})' if n > 1 else ''} {phones}\n"
            for word in sorted(known)
            for n, phones in enumerate(sounds[word], start=1)
        )
        self.sentences = frozenset(tuple(words_of(line)) for line in (*phrases, *SAYINGS))
        self.searches = {
            "phrases": LanguageModel(phrases, known).arpa(),
            "spelling": LanguageModel(phrases, known, spelling=True).arpa(),
        }

    @classmethod
    @cache
    def of(cls, phrases: tuple[str, ...]) -> Grammar:
        """The grammar of `phrases`, made once a process: some 20 ms."""
        return cls(phrases)

    def decoder(self) -> pocketsphinx.Decoder:
        """A decoder of its own for one speaker: about 10 ms."""
        decoder = _spare.pop() if _spare else _bare_decoder()
        with TemporaryDirectory(prefix="offline-stt-") as folder:
            dictionary = Path(folder, "words.dict")
            dictionary.write_text(self.dictionary)
            decoder.load_dict(str(dictionary))
            for name, arpa in self.searches.items():
                language_model = Path(folder, f"{name}.lm")
                language_model.write_text(arpa)
                decoder.add_lm_file(name, str(language_model))
        decoder.set_cmn(TELEPHONE_CMN)
        return decoder


def preload(speech: Samples) -> None:
    """Make a decoder that waits for its words, in the process that others are forked from.

    The first decoder of each forked process is that one. It has heard `speech`, so that what
    it read for that (11 MB of acoustic model and dictionary) is in memory that they share.
    """
    if _spare:
        return
    look_up("")
    recognizer = Recognizer(Grammar(()))
    recognizer.start()
    recognizer.feed(speech)
    recognizer.close()


_spare: list[pocketsphinx.Decoder] = []


def _bare_decoder() -> pocketsphinx.Decoder:
    with NamedTemporaryFile("w", prefix="offline-stt-", suffix=".dict") as dictionary:
        dictionary.write("one W AH N\n")
        dictionary.flush()
        return pocketsphinx.Decoder(
            hmm=pocketsphinx.get_model_path("en-us/en-us"),
            dict=dictionary.name,
            lm=None,
            lw=LANGUAGE_WEIGHT,
            samprate=SAMPLE_RATE,
            fwdflat=False,
            cmn="live",
            loglevel="FATAL",
        )


class Recognizer:
    """One speaker's decoder. An utterance is `start`, `feed` some blocks, `finish`.

    Decoding holds the GIL for about 3 % of the length of a block.
    """

    def __init__(self, grammar: Grammar, cmn: str = "") -> None:
        self.decoder = grammar.decoder()
        self._sentences = grammar.sentences
        self._noise = _white_noise()
        self._offset = 0
        self._expects_digit = self._spelling = self._listening = False
        if cmn:
            self.decoder.set_cmn(cmn)

    @property
    def cmn(self) -> str:
        """The mean cepstrum learned so far, for the next decoder on the same line."""
        return str(self.decoder.get_cmn(False))

    def start(self, pause: float = math.inf) -> None:
        """Begin an utterance, `pause` seconds after the last one (a spelled number goes on)."""
        self._spelling = self._expects_digit and pause < LONGEST_PAUSE
        self.decoder.activate_search("spelling" if self._spelling else "phrases")
        self.decoder.start_utt()
        self._listening = True
        self._offset = 0  # the same sound is understood the same way, whenever it comes

    def feed(self, samples: Samples) -> None:
        """Decode the next samples (mono, SAMPLE_RATE) of the utterance."""
        noise = np.take(self._noise, range(self._offset, self._offset + len(samples)), mode="wrap")
        self._offset = (self._offset + len(samples)) % len(self._noise)
        noisy = np.clip(samples.astype(np.int32) + noise, -32768, 32767).astype(np.int16)
        self.decoder.process_raw(noisy.tobytes(), False, False)

    def guess(self) -> str:
        """What the utterance sounds like so far."""
        hypothesis = self.decoder.hyp()
        return hypothesis.hypstr if hypothesis else ""

    def finish(self) -> Heard:
        """End the utterance. The text is empty if nothing was understood, or nothing likely."""
        self.decoder.end_utt()
        self._listening = False
        hypothesis = self.decoder.hyp()
        words = [word for word in self.decoder.seg() or () if word.word[0] not in "<["]
        if not hypothesis or not words:
            return Heard("", 0.0)
        text = hypothesis.hypstr.split()
        confidence = _confidence(words, exact=tuple(text) in self._sentences)
        if confidence < LEAST_CONFIDENCE and not (self._spelling and DIGITS.issuperset(text)):
            return Heard("", confidence)
        self._expects_digit = expects_digit(text)
        return Heard(" ".join(text), confidence)

    def close(self) -> None:
        """Give the decoder back for the next speaker. Safe in the middle of an utterance."""
        if self._listening:
            self.decoder.end_utt()
            self._listening = False
        _spare.append(self.decoder)


def _confidence(words: Sequence[pocketsphinx.Segment], *, exact: bool) -> float:
    """How likely it is that all the words are right, 0 to 1.

    A logistic regression over right and wrong transcripts of telephone speech, synthesised and
    human: the posterior of the words, how expected they are (digits are never unexpected), and
    whether they are a sentence that callers say.
    """
    posterior = sum(word.prob for word in words) / len(words)
    expected = sum(
        EXPECTED_DIGIT
        if word.word.partition("(")[0] in DIGITS
        else math.log(max(word.lscore, 1e-9))
        for word in words
    ) / len(words)
    single = len(words) == 1  # one word is less expected, and no less often right
    evidence = 1.0 + 4.3 * posterior + 136 * expected + 4.3 * exact + 1.9 * single
    return 1 / (1 + math.exp(-evidence))


@cache
def _white_noise() -> NDArray[np.int32]:
    """A second of it, always the same, so that the same call is understood the same way."""
    amplitude = 32768 * 10 ** (NOISE / 20)
    return np.random.default_rng(seed=1).normal(0, amplitude, SAMPLE_RATE).astype(np.int32)

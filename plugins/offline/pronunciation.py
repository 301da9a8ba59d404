"""How the words of a vocabulary sound: the CMU dictionary that PocketSphinx ships, then a guess."""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pocketsphinx

from plugins.offline import espeak

DICTIONARY = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"))

SPOKEN_NOISES = {
    "uh-huh": ("AH HH AH", "AH HH AA"),
    "mm-hmm": ("M HH M", "AH M HH M", "M M"),
    "um": ("AH M",),
}
"""Noises people make, as they are made on the telephone: the dictionary has them as words."""

ARPABET = {
    "p": "P", "b": "B", "t": "T", "t2": "T", "t#": "T", "d": "D", "k": "K", "g": "G", "?": "",
    "tS": "CH", "dZ": "JH", "f": "F", "v": "V", "T": "TH", "D": "DH", "s": "S", "z": "Z",
    "S": "SH", "Z": "ZH", "h": "HH", "x": "K", "m": "M", "n": "N", "N": "NG", "l": "L", "l#": "L",
    "r": "R", "w": "W", "j": "Y", "@": "AH", "@2": "AH", "@5": "AH", "@L": "AH L", "3": "ER",
    "a": "AE", "a#": "AH", "aa": "AE", "a2": "AE", "A": "AA", "A@": "AA R", "A~": "AA N",
    "E": "EH", "E2": "EH", "e": "EH", "e@": "EH R", "eI": "EY", "I": "IH", "I2": "IH", "I#": "IH",
    "i": "IY", "i2": "IY", "i@": "IH R", "i@3": "IH R", "0": "AA", "0#": "AA", "O": "AO",
    "O2": "AO", "O@": "AO R", "o@": "AO R", "oU": "OW", "OI": "OY", "U": "UH", "U@": "UH R",
    "u": "UW", "V": "AH", "aU": "AW", "aU@": "AW ER", "aI": "AY", "aI@": "AY AH", "aI3": "AY ER",
}  # fmt: skip
"""eSpeak's American English mnemonics in the phones of the acoustic model."""


def pronounce(word: str) -> tuple[str, ...]:
    """The ways to say a word, each as phones separated by spaces; none if it cannot be said.

    Looked up first; a word that the dictionary lacks is put together from its parts ("check-in")
    or sounded out by eSpeak's rules (names of people and streets).
    """
    known = SPOKEN_NOISES.get(word) or look_up(word)
    if known:
        return known
    parts = [look_up(part) for part in word.split("-")]
    if all(parts):
        return (" ".join(part[0] for part in parts),)
    return _sound_out(word)


def unknown_words(words: Iterable[str]) -> list[str]:
    """The words that the dictionary does not have, in the order given, each once."""
    return [
        word for word in dict.fromkeys(words) if word not in SPOKEN_NOISES and not look_up(word)
    ]


def look_up(word: str) -> tuple[str, ...]:
    """The pronunciations in the dictionary, the usual one first; empty if it has none."""
    data = _dictionary()
    wanted = word.encode()
    low, high = 0, len(data)
    while low < high:  # the file is sorted: look for the first line that is not before the word
        middle = data.rfind(b"\n", low, (low + high) // 2) + 1 or low
        end = data.find(b"\n", middle)
        if _headword(data[middle:end]) < wanted:
            low = end + 1
        else:
            high = middle
    found = []
    while _headword(line := data[low : data.find(b"\n", low)]) == wanted:
        found.append(line.partition(b" ")[2].decode())
        low += len(line) + 1
    return tuple(found)


def _headword(line: bytes) -> bytes:
    return line.partition(b" ")[0].partition(b"(")[0]


def _sound_out(word: str) -> tuple[str, ...]:
    if not word.isascii():
        return ()  # the acoustic model knows English only
    phones = [ARPABET.get(phoneme) for phoneme in espeak.phonemes(word)]
    if not phones or None in phones:
        return ()
    return (" ".join(phone for phone in phones if phone),)


@cache
def _dictionary() -> mmap.mmap:
    with DICTIONARY.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    data.find(b"\0")  # reads every page: pages that the parent of a job has read are shared
    return data

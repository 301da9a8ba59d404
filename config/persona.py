"""Personas: who answers the phone, in which language and voice, knowing what.

One YAML file in the folder is one persona; its name is the file's name without `.yaml`.
"""

from __future__ import annotations

import re
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from config.errors import SettingsError, explain
from config.fields import Filled, Number, Seconds, Section, Text, Whole, from_root
from config.hours import Hours
from config.yamlfile import read_yaml, shown

Tool = Literal["end_call", "transfer_call", "dtmf_pressed", "send_dtmf", "collect_digits"]


def _like(pattern: str, what: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {what}")
        return text

    return AfterValidator(check)


PhoneNumber = Annotated[str, _like(r"\+[1-9][0-9]{6,14}", "a number such as +15555550100")]
Target = Annotated[str, _like(r"(sips?|tel):\S+", "a URI such as tel:+15555550100 or sip:a@b")]


LONGEST_HOLD = 300.0
"""Seconds of a file for callers who wait: every job that plays it holds it in memory."""


def _playable(path: Path) -> Path:
    try:
        with wave.open(str(path), "rb") as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                raise ValueError("expected a WAV of 16 bits, mono")
            if not 0 < file.getnframes() <= LONGEST_HOLD * file.getframerate():
                raise ValueError(f"expected a WAV with sound, {LONGEST_HOLD:g} s at most")
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    except (EOFError, wave.Error):
        raise ValueError("not a WAV") from None
    return path


def load_personas(folder: Path) -> dict[str, Persona]:
    """All personas of the folder by name.

    Raises SettingsError with one line for each thing that is wrong in any of the files.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise SettingsError(f"{shown(folder)}: no personas (files NAME.yaml) here")
    personas: dict[str, Persona] = {}
    problems: list[str] = []
    for file in files:
        try:
            personas[file.stem] = _read(file)
        except SettingsError as error:
            problems.extend(error.problems)
    answered: dict[str, str] = {}
    for persona in personas.values():
        for number in persona.numbers:
            first = answered.setdefault(number, persona.name)
            if first != persona.name:
                name = shown(folder / f"{persona.name}.yaml")
                problems.append(f"{name}: numbers: {first} answers one of these numbers already")
    if problems:
        raise SettingsError(*problems)
    return personas


def choose(personas: Mapping[str, Persona], called_number: str, default: str) -> Persona:
    """The persona that answers the called number, else the default one.

    Numbers are compared by their digits: networks disagree about the plus sign and spaces.
    Raises SettingsError when there is no persona of the default's name.
    """
    called = _digits(called_number)
    for persona in personas.values():
        if called and called in map(_digits, persona.numbers):
            return persona
    if default not in personas:
        there = ", ".join(sorted(personas)) or "none"
        raise SettingsError(f"no persona {default} (there are: {there})")
    return personas[default]


def _read(file: Path) -> Persona:
    told = read_yaml(file)
    if "name" in told.data:
        raise SettingsError(f"{told.where(('name',))}: name: leave it out, it is the file's name")
    try:
        return Persona.model_validate({**told.data, "name": file.stem})
    except ValidationError as error:
        raise SettingsError(*explain(error, Persona, told.where)) from None


def _digits(number: str) -> str:
    return re.sub(r"[^0-9]", "", number)


class Voice(Section):
    """The voice at each provider of speech."""

    offline: Text = Field(description="eSpeak NG's name of the voice, such as en-us or ru.")
    cartesia: Text = Field(description="The voice's id (a UUID).")
    openai: Text = Field(description="The voice's name, such as alloy.")
    speed: Annotated[Number, Field(ge=0.6, le=1.5)] | None = Field(
        None, description="1 is the voice's own pace; null leaves it to the provider."
    )


class Phrases(Section):
    """What is said without asking the language model. All are synthesised once and kept."""

    greeting: Text = Field(description="The first words, when the caller is there.")
    disclosure: str = Field(
        "",
        description="Said before the greeting: that a machine answers, that the call is recorded.",
    )
    busy: Text = Field(description="All lines are taken; the call ends after it.")
    closed: Text = Field(description="Outside business hours; the call ends after it.")
    filler: Text = Field(description="An answer takes long: the caller hears that we are there.")
    still_there: Text = Field(description="The caller has been silent.")
    still_there_again: Text = Field(description="The caller is still silent.")
    say_again: Text = Field(description="The caller spoke and nothing was understood.")
    silence_farewell: Text = Field(description="Silent for too long; the call ends after it.")
    duration_warning: Text = Field(description="The call is about to reach its longest duration.")
    duration_farewell: Text = Field(description="It has reached it; the call ends after it.")
    apology: Text = Field(description="We cannot answer because something of ours failed.")
    cut_off: Text = Field(description="Ends an answer of which the rest is lost.")
    transferring: Text = Field(description="Before a transfer.")
    transfer_failed: Text = Field(description="Nobody took the transferred call.")
    briefing: Text = Field(description="To a colleague who is asked to take a call, first.")
    briefing_question: Text = Field(
        description="To the colleague, last: 1 or `yes` takes the call, 2 or `no` does not."
    )
    outbound_greeting: Text = Field(description="The first words of a call that we place.")
    voicemail: Text | None = Field(
        None, description="Left on an answering machine; null: hang up without a word."
    )
    farewell: Text = Field(description="The agent hangs up after it.")
    unknown: Text = Field(description="We do not know the answer.")


def _spoken(phrase: str) -> str:
    if not re.fullmatch(r"[^\W\d_]+(['-][^\W\d_]+)*( [^\W\d_]+(['-][^\W\d_]+)*)*", phrase):
        raise ValueError("expected spoken words: letters and spaces only, numbers as words")
    if phrase != phrase.lower():
        raise ValueError("expected lower case")
    return phrase


def _fillable(answer: str) -> str:
    if set(re.findall(r"\{(.*?)\}", answer)) - {"digits"}:
        raise ValueError("the only placeholder is {digits}")
    return answer


Phrase = Annotated[str, AfterValidator(_spoken)]


class Fact(Section):
    """One thing the persona knows, and how callers ask for it."""

    name: Text
    asks: Annotated[tuple[Phrase, ...], Filled] = Field(
        description="Ways of asking: what the offline recogniser listens for."
    )
    answer: Annotated[Text, AfterValidator(_fillable)] = Field(
        description="One or two spoken sentences; {digits} becomes the digits that were heard."
    )
    means: tuple[Annotated[tuple[Text, ...], Filled], ...] = Field(
        (), description="An answer counts when it holds one word or phrase of each list."
    )
    tool: Tool | None = Field(None, description="Used as well when this is asked.")

    @model_validator(mode="after")
    def _answers_itself(self) -> Self:
        if not self.is_met_by(self.answer):
            raise ValueError("the answer does not hold what `means` asks of an answer")
        return self

    def is_met_by(self, answer: str) -> bool:
        """Does an answer say what this fact means? Upper and lower case are the same."""
        heard = answer.casefold()
        return all(any(word.casefold() in heard for word in words) for words in self.means)


class Limits(Section):
    """How long the persona waits: for a silent caller, for providers, for a call's end. Seconds."""

    silence_prompt: Seconds = Field(8, gt=0, description="Of silence before `still_there`.")
    silence_second: Seconds = Field(8, gt=0, description="More, before `still_there_again`.")
    silence_goodbye: Seconds = Field(8, gt=0, description="More, before `silence_farewell`.")
    max_duration: Seconds = Field(900, gt=0, description="Of a call, from its answer.")
    duration_warning: Seconds = Field(60, description="Before that end; 0: no warning.")
    filler: Seconds = Field(1.8, description="Of silence owed before `filler`; 0: no filler.")
    apology: Seconds = Field(
        5.5, gt=0, description="Without an answer before `apology`, which ends the call."
    )
    first_word: Seconds = Field(
        1.5, gt=0, description="For a language model's first word, then the next one is asked."
    )
    behind: Seconds = Field(
        1.0, gt=0, description="That a written answer may be behind a voice that reads it."
    )
    first_audio: Seconds = Field(
        1.5, gt=0, description="For the first sound of a sentence, then the next voice is asked."
    )
    audio_gap: Seconds = Field(1.0, gt=0, description="Without more sound of an unfinished reply.")
    tool_steps: Annotated[Whole, Field(ge=1, le=20)] = Field(
        3, description="Times that a language model may use tools for one answer."
    )

    @model_validator(mode="after")
    def _warned_in_time(self) -> Self:
        if self.duration_warning >= self.max_duration:
            raise ValueError("duration_warning must be shorter than max_duration")
        if self.filler >= self.apology:
            raise ValueError("filler must come before apology")
        return self


class TurnTaking(Section):
    """When the caller's turn is over, and when the agent gives way. Seconds."""

    finished: Seconds = Field(0.25, le=5, description="Of silence after a finished sentence.")
    unclear: Seconds = Field(0.6, le=5, description="Of silence when the text does not tell.")
    open: Seconds = Field(1.4, le=5, description="Of silence after an open phrase (`and the...`).")
    number: Seconds = Field(1.6, le=5, description="Of silence after an unfinished number.")
    barge_in: Seconds = Field(0.25, le=5, description="Of the caller's speech stop the agent.")
    resume: Seconds = Field(
        0.8, le=5, description="Of silence after a false interruption, then the agent goes on."
    )
    backchannels: tuple[Phrase, ...] = Field(
        (), description="Said while listening (`uh-huh`): they do not stop the agent."
    )


class Privacy(Section):
    """What of a conversation is not kept."""

    redact: tuple[Literal["card", "email", "phone", "keys"], ...] = Field(
        ("card", "email", "phone", "keys"),
        description="Taken out of transcripts and notes before they are stored; keys: what was"
        " typed on the telephone, but for the first choices in a menu.",
    )


class Transfer(Section):
    """Where a caller is sent who wants a person, and how."""

    to: Target = Field(description="tel: or sip: URI.")
    mode: Literal["cold", "warm"] = Field(
        "cold",
        description="cold: the caller is passed on (SIP REFER); warm: a colleague is rung through"
        " `outbound.trunk`, told what the caller wants, and asked.",
    )
    ringing: Seconds = Field(30, gt=0, le=80, description="How long the colleague is rung (warm).")
    longest: Seconds = Field(
        3600, ge=1, le=86400, description="How long the colleague's leg may last (warm)."
    )
    hold_audio: Annotated[Path, AfterValidator(from_root), AfterValidator(_playable)] | None = (
        Field(None, description="WAV for the caller who waits (16 bits, mono); null: a quiet tone.")
    )


class Persona(Section):
    """Who answers: language, voice, knowledge, tools, limits."""

    name: Text = Field(description="The name of its file.")
    language: Literal["en", "ru"]
    numbers: tuple[PhoneNumber, ...] = Field((), description="Called numbers it answers, E.164.")
    prompt: Text = Field(description="Instructions for the language model.")
    voice: Voice
    phrases: Phrases
    facts: Annotated[tuple[Fact, ...], Filled]
    tools: tuple[Tool, ...] = Field((), description="What the language model may do.")
    vocabulary: tuple[Phrase, ...] = Field((), description="What callers say besides `asks`.")
    hours: Hours | None = Field(None, description="When it answers; null: always.")
    transfer: Transfer | None = Field(None, description="What transfer_call does.")
    limits: Limits = Limits()
    turn_taking: TurnTaking = TurnTaking()
    privacy: Privacy = Privacy()
    recording: Literal["never", "always", "consent"] = Field(
        "never", description="Of its calls; consent: from the end of `phrases.disclosure` on."
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        names = [fact.name for fact in self.facts]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"facts: two are named {', '.join(sorted(twice))}")
        for fact in self.facts:
            if fact.tool and fact.tool not in self.tools:
                raise ValueError(f"facts: {fact.name} uses {fact.tool}, which is not in tools")
        if "transfer_call" in self.tools and not self.transfer:
            raise ValueError("tools: transfer_call needs transfer")
        if self.recording == "consent" and not self.phrases.disclosure:
            raise ValueError("recording: consent needs phrases.disclosure, which asks for it")
        return self

    def listens_for(self) -> tuple[str, ...]:
        """Every phrase that callers are expected to say, each once: for the offline recogniser."""
        asked = [ask for fact in self.facts for ask in fact.asks]
        return tuple(dict.fromkeys([*asked, *self.vocabulary, *self.turn_taking.backchannels]))

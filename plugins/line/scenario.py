"""A scenario: what a simulated caller does, and what must come of it. Loaded from YAML.

A step is a mapping with one of the keys listen, say, while_agent_speaks, press, wait, play,
silence and hangup. After the last step the caller hangs up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from plugins.line.g711 import Law
from plugins.line.wire import LineError

SHIPPED = Path(__file__).with_name("scenarios")
"""The scenarios that come with the line."""


class ScenarioError(LineError):
    """The scenario cannot be played."""


class Model(BaseModel):
    """Frozen, and strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Pause(Model):
    """Silence inside an utterance, in seconds."""

    pause: float = Field(gt=0, le=10)


Speech: TypeAlias = str | list[str | Pause]
"""A text, or texts and pauses that make one utterance."""


class Expect(Model):
    """What must come of an utterance, judged from the turn that answers it unless it says else."""

    fact: str | None = None
    """The answer states this fact of the persona."""
    tool: str | None = None
    """The answer calls this tool."""
    understood: list[str] = []
    """Words that the agent must have recognised, in this order."""
    agent: Literal["goes_on", "stops"] | None = None
    """From the recording: the agent ends its sentence in spite of it, or falls silent for it."""
    answered: Literal["once"] | None = None
    """From the recording: the agent waits for the end of the utterance, then answers."""


class Step(Model):
    """One thing that the caller does."""


class Patience(Model):
    """How long the caller listens. Seconds."""

    quiet: float = Field(default=0.7, gt=0)
    """The agent has finished when it was audible and then silent for this long."""
    timeout: float = Field(default=15.0, gt=0)


class Listen(Step):
    """Wait until the agent was audible and then silent; the scenario fails after `timeout`."""

    listen: Patience


class Say(Step):
    """Speak. With `cut`, only this share of the utterance is spoken."""

    say: Speech
    cut: float | None = Field(default=None, gt=0, lt=1)
    expect: Expect | None = None


class Interjection(Model):
    """Said over the agent, `after` seconds into its speech."""

    after: float = Field(default=1.0, ge=0)
    say: Speech
    kind: Literal["backchannel", "barge_in"] = "barge_in"
    timeout: float = Field(default=15.0, gt=0)


class WhileAgentSpeaks(Step):
    """Wait until the agent has been speaking for a while, and speak over it."""

    while_agent_speaks: Interjection
    expect: Expect | None = None


class Press(Step):
    """Press keys, five a second."""

    press: str = Field(pattern=r"^[0-9*#A-D]+$")
    expect: Expect | None = None


class Wait(Step):
    """Say nothing for some seconds, whatever the agent does."""

    wait: float = Field(gt=0)


class Play(Step):
    """Play a WAV of 16 bits, mono: a path seen from the scenario, or a name in `caller.sounds`."""

    play: str
    text: str = ""
    """What the voice in it says."""
    expect: Expect | None = None


class UntilHangup(Model):
    """Seconds after which the scenario fails."""

    timeout: float = Field(default=30.0, gt=0)


class Silence(Step):
    """Say nothing until the agent hangs up."""

    silence: UntilHangup


class Hangup(Step):
    """Hang up at once."""

    hangup: dict[str, Any] = Field(max_length=0)


_STEPS: dict[str, type[Step]] = {
    "listen": Listen,
    "say": Say,
    "while_agent_speaks": WhileAgentSpeaks,
    "press": Press,
    "wait": Wait,
    "play": Play,
    "silence": Silence,
    "hangup": Hangup,
}


_TYPES = frozenset({"str", "Pause"})
"""Members of a union, which pydantic puts into the path of an error."""
_TAG_PLACE = 2
"""In the path of a validation error: steps, the number, the tag, the field."""


def _key(step: Any) -> str | None:
    if isinstance(step, Step):
        return kind_of(step)
    return next((key for key in _STEPS if isinstance(step, dict) and key in step), None)


AnyStep: TypeAlias = Annotated[
    Annotated[Listen, Tag("listen")]
    | Annotated[Say, Tag("say")]
    | Annotated[WhileAgentSpeaks, Tag("while_agent_speaks")]
    | Annotated[Press, Tag("press")]
    | Annotated[Wait, Tag("wait")]
    | Annotated[Play, Tag("play")]
    | Annotated[Silence, Tag("silence")]
    | Annotated[Hangup, Tag("hangup")],
    Discriminator(
        _key,
        custom_error_type="step",
        custom_error_message=f"a step needs one of the keys {', '.join(_STEPS)}",
    ),
]


class Sounds(Model):
    """A folder of recorded prompts, looked for where telephony packages put theirs."""

    folder: str
    package: str
    """The Debian package that brings it."""


class CallerProfile(Model):
    """Who calls: voice and speed (words a minute) of the synthesiser, noise, numbers, law."""

    voice: str = "en-us"
    speed: int = Field(default=150, ge=80, le=450)
    noise_dbfs: float = Field(default=-60.0, le=-50.0)
    """White noise (RMS) under the caller's side; it must stay below what counts as audible."""
    number: str = "+15550100"
    called: str = "+15550199"
    law: Law = "ulaw"
    sounds: Sounds | None = None


class Transfer(Model):
    """What the far end does with a transfer; `code` is the SIP status."""

    ok: bool = True
    code: int = Field(default=202, ge=200, le=699)
    after: float = Field(default=0.0, ge=0, le=60)
    """Seconds until it answers: a telephone rings, a colleague listens."""
    mode: Literal["cold", "warm"] | None = None
    """Goes over the persona's."""


class Outcome(Model):
    """What must be true of the whole call."""

    end_reason: str | None = None
    """An `EndReason` of the call's record."""
    tools: list[str] = []
    """Tools that must have been called, in this order."""
    turns: int | None = None
    """How many turns of the caller there must be: a caller who was cut off makes more."""
    phrases: list[str] = []
    """Phrases of the persona that the agent must have said, in this order."""


class Scenario(Model):
    """One call from the caller's side. `limits` go over those of the persona."""

    name: str
    about: str
    persona: str = "en"
    caller: CallerProfile = CallerProfile()
    limits: dict[str, float] = {}
    transfer: Transfer = Transfer()
    steps: list[AnyStep] = Field(min_length=1)
    expect: Outcome = Outcome()
    folder: Path = Field(default=Path(), exclude=True)
    """Where paths of `play` start; set by `load_scenario`."""


def load_scenario(source: str | Path) -> Scenario:
    """The scenario in a YAML file, or the shipped one of that name. Raises ScenarioError."""
    path = Path(source)
    if not path.suffix and path.parent == Path():
        path = SHIPPED / f"{source}.yaml"
        if not path.is_file():
            raise ScenarioError(
                f"no scenario {source!r}: give a YAML file, or one of {', '.join(shipped())}"
            )
    try:
        body = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"cannot read the scenario {path}: {_reason(error)}") from error
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(body, dict):
        raise ScenarioError(f"{path}: a scenario is a mapping with name, about and steps")
    try:
        return Scenario.model_validate({**body, "folder": path.parent})
    except ValidationError as error:
        raise ScenarioError(f"{path}: {_first(error)}") from error


def shipped() -> list[str]:
    """The names of the scenarios that come with the line."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def kind_of(step: Step) -> str:
    """The key that names the step in YAML."""
    return next(key for key, model in _STEPS.items() if isinstance(step, model))


def recorded_caller(wav: Path, persona: str = "en") -> Scenario:
    """The scenario of a caller in a WAV: hears the greeting, plays it, hears the answer."""
    steps: list[AnyStep] = [
        Listen(listen=Patience()),
        Play(play=str(wav.resolve())),
        Listen(listen=Patience()),
    ]
    return Scenario(
        name=wav.stem, about=f"recorded caller {wav.name}", persona=persona, steps=steps
    )


def _first(error: ValidationError) -> str:
    errors = error.errors(include_url=False)
    where: list[str] = []
    for place, part in enumerate(errors[0]["loc"]):
        # After steps[n] stands the tag of the step's kind, which is not a field.
        tag = place == _TAG_PLACE and errors[0]["loc"][0] == "steps"
        if isinstance(part, int):
            where[-1] += f"[{part}]"
        elif not tag and part not in _TYPES and not part.startswith("list["):
            where.append(part)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{'.'.join(where)}: {errors[0]['msg']}{more}"


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else error.reason

"""Who answers this call, and with which choices: the job says, then the rule, then the settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from agent import log
from agent.call import Caller
from config.dispatch import Dispatch
from config.errors import dotted
from config.numbers import e164
from config.persona import Persona, Transfer, choose
from config.settings import Settings

logger = log.get(__name__)

PREFIX = "voice."
"""Of attributes that a dispatch rule gives to the caller: `voice.persona`, `voice.max_duration`."""


def persona_for(
    settings: Settings, personas: Mapping[str, Persona], metadata: str, caller: Caller
) -> Persona:
    """The persona that answers `caller`, with the choices for this call.

    The strongest is the job's metadata (`{"persona": "ru"}`), then attributes of the dispatch
    rule or trunk, then the settings of the called number, then the persona that lists it, then
    the default one. What cannot be used is logged and left out.

    The metadata sends callers only where our configuration does, too (`transfer.to` of any
    persona, `transfer_to` of personas.by_number): a token server may let a browser write it, and
    every transfer is paid for.
    """
    by_metadata = _to_ours(by_job(metadata), settings, personas)
    sources = by_metadata, _by_rule(caller), _of_number(settings, caller.called)
    known = (persona for source in sources if (persona := named(personas, source.persona)))
    persona = next(known, None) or choose(personas, caller.called, settings.personas.default)
    strongest, middle, weakest = sources
    return _with(persona, strongest.over(middle).over(weakest))


def by_job(metadata: str) -> Dispatch:
    """What the job's metadata chooses: the JSON object of the dispatch rule or the API's caller."""
    if not metadata:
        return Dispatch()
    try:
        told = json.loads(metadata)
    except ValueError:
        logger.warning("metadata of a job is no JSON", action="ignore")
        return Dispatch()
    if not isinstance(told, dict):
        logger.warning("metadata of a job is no JSON object", action="ignore")
        return Dispatch()
    return _checked(told, "metadata of a job")


def named(personas: Mapping[str, Persona], name: str | None) -> Persona | None:
    """The persona of this name; one that there is not is logged."""
    if name and name not in personas:
        logger.warning("a persona is unknown", persona=name[:40], action="take another")
    return personas.get(name or "")


def _to_ours(chosen: Dispatch, settings: Settings, personas: Mapping[str, Persona]) -> Dispatch:
    """The choices, without a transfer to where the configuration sends nobody."""
    ours = {persona.transfer.to for persona in personas.values() if persona.transfer}
    ours |= {of.transfer_to for of in settings.personas.by_number.values() if of.transfer_to}
    if chosen.transfer_to is None or chosen.transfer_to in ours:
        return chosen
    logger.warning("transfer_to of a job is no target of the configuration", action="ignore")
    return chosen.model_copy(update={"transfer_to": None})


def _by_rule(caller: Caller) -> Dispatch:
    if not caller.is_telephone:
        return Dispatch()  # its attributes may be its own words
    told = {
        key.removeprefix(PREFIX): value
        for key, value in caller.attributes.items()
        if key.startswith(PREFIX)
    }
    return _checked(told, "attributes of a caller")


def _checked(told: Mapping[str, Any], source: str) -> Dispatch:
    """What is right of it: other keys are other programs', wrong values are logged."""
    known = {key: told[key] for key in Dispatch.model_fields if key in told}
    try:
        return Dispatch.model_validate(known)
    except ValidationError as error:
        wrong = {problem["loc"][0] for problem in error.errors()}
        keys = ", ".join(sorted(dotted((key,)) for key in wrong))
        logger.warning("a choice cannot be used", source=source, keys=keys, action="ignore")
        return Dispatch.model_validate({k: v for k, v in known.items() if k not in wrong})


def _of_number(settings: Settings, called: str) -> Dispatch:
    number = e164(called, settings.admission.notation)
    return settings.personas.by_number.get(number, Dispatch())


def _with(persona: Persona, chosen: Dispatch) -> Persona:
    changes: dict[str, Any] = {}
    if chosen.transfer_to:
        transfer = persona.transfer or Transfer(to=chosen.transfer_to)
        changes["transfer"] = transfer.model_copy(update={"to": chosen.transfer_to})
    if chosen.max_duration:
        limits = {"max_duration": chosen.max_duration}
        if persona.limits.duration_warning >= chosen.max_duration:
            limits["duration_warning"] = 0
        changes["limits"] = persona.limits.model_copy(update=limits)
    return persona.model_copy(update=changes)

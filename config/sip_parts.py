"""The parts of `config/sip.yaml`: a trunk in, a trunk out, a rule, with every field of the API."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from livekit.protocol.sip import SIPStatusCode
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from config.fields import Filled, Number, Seconds, Section, Text, Whole
from config.rooms import ROOM_PREFIX
from config.sip_egress import Egress, Recording

AGENT_NAME = "voice-ai"

_OPEN = "takes calls from every address without authentication"
_SHORTEST = {4: 8, 6: 16}
"""Bits of the widest network, by IP version, that a provider without authentication may have."""

Metadata = dict[str, Any]
Headers = dict[str, Text]


def digits(number: str) -> str:
    """The number as the server compares it: without signs, with a plus."""
    plain = re.sub(r"[ ()-]", "", number)
    return f"+{plain}" if plain.isdecimal() else plain


def _split(value: Any) -> Any:
    # One variable may hold a whole list: `numbers: ${SIP_NUMBERS}`.
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _address(text: str) -> str:
    # The server drops what it cannot read, and takes an empty list for "everybody".
    try:
        ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        if re.fullmatch(r"[\d.:/]+", text) or not re.fullmatch(r"[A-Za-z0-9.-]+", text):
            raise ValueError(
                "expected an IP address, a network such as 203.0.113.0/24, or a host name"
            ) from None
    return text


def why_open(addresses: Sequence[str]) -> str:
    """Why a trunk without authentication is open to strangers; empty when `addresses` close it."""
    if not addresses:
        return f"{_OPEN} (an empty allowed_addresses means everybody)"
    families: dict[int, list[Any]] = {4: [], 6: []}
    for text in addresses:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:  # the server compares it with what the caller wrote
            return (
                f"allowed_addresses: {text} is a host name, which the server compares with"
                " the From header's host that any caller can choose"
            )
        families[network.version].append(network)
    for version, networks in families.items():
        for network in ipaddress.collapse_addresses(networks):
            if network.prefixlen < _SHORTEST[version]:
                return f"{_OPEN}, or from most ({network} in allowed_addresses)"
    return ""


def _host(text: str) -> str:
    if re.match(r"sips?:", text) or re.search(r"[@;/\s]", text):
        raise ValueError("expected a host name or address, without sip: and parameters")
    return text


def _status(code: int) -> int:
    if code not in SIPStatusCode.values():
        raise ValueError("expected a SIP status code such as 480 or 486")
    return code


Numbers = Annotated[tuple[Text, ...], BeforeValidator(_split)]
Addresses = Annotated[
    tuple[Annotated[Text, AfterValidator(_address)], ...], BeforeValidator(_split)
]
Host = Annotated[str, AfterValidator(_host)]


class Auth(Section):
    """Digest authentication. The password is `${NAME}`, or a path in `password_file`."""

    username: Text
    password: SecretStr = Field(min_length=1)


class InboundAuth(Auth):
    """What a provider must answer to our challenge."""

    realm: str = Field("", description="Empty: the server's own.")


class Codec(Section):
    """One codec that may be offered, such as PCMA at 8000."""

    name: Text
    rate: Annotated[Whole, Field(ge=8000, le=48000)] | None = Field(None, description="In hertz.")


class Media(Section):
    """How audio is carried."""

    only_listed_codecs: bool = Field(default=False, description="Refuse all other codecs.")
    codecs: tuple[Codec, ...] = Field((), description="The preferred first.")
    encryption: Literal["disable", "allow", "require"] | None = Field(None, description="SRTP.")
    media_timeout: Annotated[Number, Field(gt=0)] | None = Field(
        None, description="Seconds without audio end the call; null: the server's own (15)."
    )


class Trunk(Section):
    """What a trunk in and a trunk out have in common."""

    name: Text
    numbers: Numbers = Field((), description="In: the called ones. Out: the calling ones.")
    headers: Headers = Field({}, description="Sent as they are: X-Name: value.")
    headers_to_attributes: Headers = Field({}, description="Of the other side: X-Name: attribute.")
    attributes_to_headers: Headers = Field({}, description="With BYE or REFER: attribute: X-Name.")
    include_headers: Literal["none", "x", "all"] = Field(
        "none", description="Which headers become attributes sip.h.* unasked."
    )
    media: Media = Media()
    metadata: Metadata = Field({}, description="Sent as JSON, with the mark of the owner.")


class InboundTrunk(Trunk):
    """Where calls come from."""

    allowed_addresses: Addresses = Field(
        (),
        description="IPs and networks; empty: everybody. A host name is compared with the From"
        " header's host, which any caller can choose, and never looked up: it needs auth.",
    )
    allowed_numbers: Numbers = Field((), description="Calling numbers; empty: all.")
    auth: InboundAuth | None = None
    ringing_timeout: Seconds | None = Field(None, description="Null: the server's own (180).")
    ringing_timeout_status: Annotated[Whole, AfterValidator(_status)] | None = Field(
        None, description="The SIP answer when it has passed."
    )
    max_call_duration: Seconds | None = Field(None, description="Null: the server's own.")
    krisp_enabled: bool = Field(default=False, description="LiveKit Cloud only.")
    allow_open: bool = Field(
        default=False,
        description="Take calls from every address, or by host name, without authentication.",
    )

    @model_validator(mode="after")
    def _closed(self) -> Self:
        if not (self.numbers or self.allowed_addresses or self.auth):
            raise ValueError("needs numbers, allowed_addresses or auth")
        if self.auth is None and not self.allow_open and (why := why_open(self.allowed_addresses)):
            raise ValueError(
                f"{why}: name the provider's addresses or networks in allowed_addresses, set auth,"
                " or say allow_open: true"
            )
        return self


class OutboundTrunk(Trunk):
    """Where our calls go out."""

    address: Annotated[Host, Field(min_length=1)] = Field(description="Host, perhaps with :port.")
    numbers: Annotated[Numbers, Filled] = Field(description="One is chosen a call.")
    transport: Literal["auto", "udp", "tcp", "tls"] = "auto"
    destination_country: Annotated[str, Field(pattern="^([A-Z]{2})?$")] = Field(
        "", description="ISO 3166-1, two letters; LiveKit Cloud only."
    )
    auth: Auth | None = None
    from_host: Host = Field("", description="Host of the From header; empty: our own.")


class Agent(Section):
    """An agent that is sent into the room."""

    agent_name: Text = AGENT_NAME
    metadata: Metadata | str = Field("", description="Its job's metadata; a mapping becomes JSON.")
    restart_policy: Literal["on_failure", "never"] = "on_failure"
    deployment: str = ""
    attributes: dict[str, str] = Field({}, description="Of the agent's participant.")


class RoomConfig(Section):
    """What the room of a call is made with."""

    name: str = Field("", description="A configuration that the server knows by name.")
    empty_timeout: Whole = Field(0, ge=0, description="Seconds; 0: the server's own.")
    departure_timeout: Whole = Field(0, ge=0, description="Seconds; 0: the server's own.")
    max_participants: Whole = Field(0, ge=0, description="0: no limit.")
    metadata: Metadata | str = ""
    egress: Annotated[Egress, Recording] | None = Field(  # type: ignore[valid-type]  # made at run time
        None, description="Recording from the start; if it cannot start, the call fails."
    )
    min_playout_delay: Whole = Field(0, ge=0, description="Milliseconds.")
    max_playout_delay: Whole = Field(0, ge=0, description="Milliseconds.")
    sync_streams: bool = False
    agents: tuple[Agent, ...] = (Agent(),)
    tags: dict[str, str] = Field({}, description="LiveKit Cloud only.")


class Direct(Section):
    """All calls into one room."""

    room_name: Text
    pin: SecretStr = SecretStr("")


class Individual(Section):
    """A room a call, named after the caller's number, which so gets into logs and paths."""

    room_prefix: str = ROOM_PREFIX
    pin: SecretStr = SecretStr("")
    no_randomness: bool = Field(default=False, description="One room a caller, for all calls.")


class Callee(Section):
    """A room a called number, or with `randomize` a room a call."""

    room_prefix: str = ROOM_PREFIX
    pin: SecretStr = SecretStr("")
    randomize: bool = True


class DispatchRule(Section):
    """Which room a call goes to, and which agent comes. One of direct, individual, callee."""

    name: Text
    direct: Direct | None = None
    individual: Individual | None = None
    callee: Callee | None = None
    trunks: Numbers = Field((), description="Inbound trunks by name, others by id; empty: all.")
    numbers: Numbers = Field((), description="Called numbers, as the provider writes them.")
    inbound_numbers: Numbers = Field((), description="Calling numbers, as the provider does.")
    hide_phone_number: bool = False
    attributes: dict[str, str] = Field({}, description="Of the caller's participant.")
    metadata: Metadata = Field({}, description="Of the caller's participant, as JSON.")
    room_preset: str = Field("", description="LiveKit Cloud only.")
    room_config: RoomConfig = RoomConfig()
    krisp_enabled: bool = Field(default=False, description="LiveKit Cloud only.")
    media: Media = Media()

    @model_validator(mode="before")
    @classmethod
    def _callee_by_default(cls, data: Any) -> Any:
        if isinstance(data, dict) and not {"direct", "individual", "callee"} & data.keys():
            return {**data, "callee": {}}
        return data

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.direct, self.individual, self.callee)) != 1:
            raise ValueError("give one of direct, individual and callee")
        return self

    @property
    def pin(self) -> str:
        """The digits that a caller must press, if any."""
        kind = self.direct or self.individual or self.callee
        return kind.pin.get_secret_value() if kind else ""

"""The sections of the settings: every value with its default, its unit and its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, field_validator

from config.backup import Backup
from config.canary import Canary
from config.control import Serve, Tokens
from config.dispatch import Dispatch
from config.fields import Filled, Folder, Port, Seconds, Section, Text, Whole, from_root
from config.health import Health
from config.incidents import Incidents, Notifications
from config.numbers import Notation, NumberPattern
from config.persona import PhoneNumber
from config.recording import Recording
from config.recovery import Recovery
from config.reports import Reports
from config.rooms import Rooms, Webhooks
from config.sentinels import SENTINEL_SCHEMES, sentinels_of
from config.traces import Traces

NO_SECRET = SecretStr("")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _url(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        if url and url.partition("://")[0] not in schemes:
            raise ValueError(f"expected a URL that begins with {', '.join(schemes)} and ://")
        try:
            urlsplit(url)
        except ValueError:
            raise ValueError("not a URL") from None
        return url

    return AfterValidator(check)


def _sentinel() -> AfterValidator:
    def check(url: str) -> str:
        sentinels_of(url)
        return url

    return AfterValidator(check)


BaseUrl = Annotated[str, _url("https", "http", "wss", "ws")]


class Livekit(Section):
    """The LiveKit server that `dev`, `start` and `connect` register with."""

    url: Annotated[str, _url("wss", "ws", "https", "http")] = Field(
        "", description="The server's URL, such as wss://example.livekit.cloud."
    )
    api_key: SecretStr = Field(NO_SECRET, description="The API key.")
    api_secret: SecretStr = Field(NO_SECRET, description="The secret that belongs to the key.")
    retry_policies: Folder = Field(
        Path("config/retry_policies.yaml"), description="How requests to its API are repeated."
    )
    auth: Folder | None = Field(
        Path("config/livekit_auth.yaml"),
        description="The ring of keys (config.livekit_auth); null: the key above is all of it.",
    )


class Worker(Section):
    """The process that takes jobs and runs one process for each call."""

    agent_name: Text = Field("voice-ai", description="The name that dispatch rules ask for.")
    max_calls: Whole = Field(10, ge=1, le=1000, description="Calls at once on this worker.")
    idle_processes: Annotated[Whole, Field(ge=0, le=1000)] | None = Field(
        None, description="Processes kept ready for a burst of calls; null: the worker chooses."
    )
    drain_timeout: Seconds = Field(
        3600, le=86400, description="Seconds that running calls may take after SIGTERM."
    )
    give_up_after: Seconds = Field(
        0, description="Seconds without a registration after which the worker exits; 0: never."
    )
    open_host: bool = Field(
        default=False,
        description="Let worker.host be reached from outside: that server knows no credentials.",
    )
    host: Text = Field("127.0.0.1", description="Address of the framework's own HTTP server.")
    port: Port = Field(8081, description="Its port; 0 picks a free one.")
    endpoints_token: SecretStr = Field(
        NO_SECRET, description="Bearer token asked of readers of /live, /ready and /metrics."
    )
    endpoints_host: Text = Field(
        "127.0.0.1", description="Address of /live, /ready and /metrics; not loopback: token first."
    )
    endpoints_port: Port = Field(8082, description="Their port; 0 picks a free one.")
    report_key: SecretStr = Field(
        NO_SECRET, description="Client key of scope events for worker.report_to."
    )
    report_to: Annotated[str, _url("https", "http")] = Field(
        "",
        description="URL of the `ops serve` that writes the calls of a worker without a lasting"
        " disk into its call log, and counts them; empty: this worker writes them itself.",
    )

    @field_validator("host")
    @classmethod
    def _open_by_name(cls, host: str, info: Any) -> str:
        if host not in LOOPBACK and not info.data.get("open_host"):
            raise ValueError(
                "can be reached from outside, and the framework's server knows no credentials:"
                " use 127.0.0.1 and worker.endpoints_host, or set worker.open_host"
            )
        return host

    @field_validator("report_to")
    @classmethod
    def _with_key(cls, url: str, info: Any) -> str:
        if url and not info.data.get("report_key", NO_SECRET).get_secret_value():
            raise ValueError(
                "needs a client key of scope events: set worker.report_key"
                " (VOICE_AGENT__WORKER__REPORT_KEY)"
            )
        return url

    @field_validator("endpoints_host")
    @classmethod
    def _guarded(cls, host: str, info: Any) -> str:
        token = info.data.get("endpoints_token", NO_SECRET)
        if host not in LOOPBACK and not token.get_secret_value():
            raise ValueError(
                "can be reached from outside: set worker.endpoints_token"
                " (VOICE_AGENT__WORKER__ENDPOINTS_TOKEN), or use 127.0.0.1"
            )
        return host


class Deepgram(Section):
    """Speech to text."""

    api_key: SecretStr = Field(NO_SECRET, description="Without a key the provider is skipped.")
    base_url: BaseUrl = Field("", description="Empty: the provider's own (with /v1/listen).")
    model: Text = Field("nova-3", description="The recognition model.")


class OpenAI(Section):
    """Language model, speech to text and text to speech."""

    api_key: SecretStr = Field(NO_SECRET, description="Without a key the provider is skipped.")
    base_url: BaseUrl = Field("", description="Empty: the provider's own (with /v1).")
    llm_model: Text = Field("gpt-4.1-mini", description="The model that answers.")
    stt_model: Text = Field("gpt-4o-mini-transcribe", description="The recognition model.")
    tts_model: Text = Field("gpt-4o-mini-tts", description="The model that speaks.")


class Groq(Section):
    """Language model, through the OpenAI protocol."""

    api_key: SecretStr = Field(NO_SECRET, description="Without a key the provider is skipped.")
    base_url: BaseUrl = Field("https://api.groq.com/openai/v1", description="The API's address.")
    llm_model: Text = Field("llama-3.3-70b-versatile", description="The model that answers.")


class Compatible(Section):
    """Any language model with an endpoint of OpenAI's shape: vLLM, Ollama, a gateway."""

    api_key: SecretStr = Field(NO_SECRET, description="The key, where the endpoint wants one.")
    base_url: BaseUrl = Field("", description="The API's address (with /v1); empty: skipped.")
    model: str = Field("", description="The model that answers; empty: skipped.")


class Cartesia(Section):
    """Text to speech."""

    api_key: SecretStr = Field(NO_SECRET, description="Without a key the provider is skipped.")
    base_url: BaseUrl = Field("", description="Empty: the provider's own (without a path).")
    model: Text = Field("sonic-3", description="The model that speaks.")


class Providers(Section):
    """What each provider of speech or language needs to be reached."""

    deepgram: Deepgram = Deepgram()
    openai: OpenAI = OpenAI()
    groq: Groq = Groq()
    compatible: Compatible = Compatible()
    cartesia: Cartesia = Cartesia()


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("names a provider twice")
    return names


_Chain = (Filled, AfterValidator(_once))


class Speech(Section):
    """Which providers are tried, the first first. Those without a key are skipped."""

    stt: Annotated[tuple[Literal["deepgram", "openai", "offline"], ...], *_Chain] = Field(
        ("deepgram", "openai", "offline"), description="Speech to text."
    )
    llm: Annotated[tuple[Literal["openai", "groq", "compatible", "offline"], ...], *_Chain] = Field(
        ("openai", "groq", "offline"), description="Language models."
    )
    vad: Literal["bundled", "silero"] = Field(
        "bundled",
        description="The framework's own Silero, or the plugin (30 MB more a call).",
    )
    tts: Annotated[tuple[Literal["cartesia", "openai", "offline"], ...], *_Chain] = Field(
        ("cartesia", "openai", "offline"), description="Text to speech."
    )


class Admission(Section):
    """Who is let in: load and hours are judged before a call starts, callers when they are there.

    A number matches a pattern as +COUNTRY..., however it was written; `*` and `?` are wildcards.
    """

    max_calls_overall: Whole = Field(
        0, ge=0, le=100_000, description="Calls at once over all workers (Redis); 0: any number."
    )
    courtesy_slots: Whole = Field(
        2, ge=0, le=100, description="Callers at once, over the calls, who hear that all is busy."
    )
    observe_hours: bool = Field(
        default=True, description="Heed the personas' business hours; false: always open."
    )
    allowed: tuple[NumberPattern, ...] = Field(
        (), description="Telephone callers who may come in; empty: all who are not blocked."
    )
    blocked: tuple[NumberPattern, ...] = Field(
        (), description="Those who may not, such as +7900*; `withheld`: those without a number."
    )
    calls_an_hour: Whole = Field(
        0, ge=0, le=10_000, description="Calls that a number may make in an hour; 0: any number."
    )
    notation: Notation | None = Field(
        None, description="How the network writes national numbers; null: with the country code."
    )


class Personas(Section):
    """Who answers the phone."""

    folder: Folder = Field(
        Path("config/personas"), description="Holds one YAML file for each persona."
    )
    default: Text = Field("en", description="Answers when no persona lists the called number.")
    by_number: Mapping[PhoneNumber, Dispatch] = Field(
        default_factory=dict,
        description="Choices for a called number: persona, transfer_to, max_duration.",
    )


class Store(Section):
    """The call log's database."""

    url: Annotated[str, _url("sqlite", "postgresql", "postgresql+psycopg", "postgres")] = Field(
        "sqlite:///data/calls.db",
        min_length=1,
        repr=False,  # may hold a password
        description="SQLite (a relative file counts from the checkout) or PostgreSQL.",
    )

    @field_validator("url")
    @classmethod
    def _from_root(cls, url: str) -> str:
        scheme, _, file = url.partition(":///")
        if scheme != "sqlite" or not file or file.startswith((":", "file:")):
            return url
        return f"sqlite:///{from_root(Path(file))}"


class Data(Section):
    """What the product keeps on disk: spool, phrase cache, recordings."""

    folder: Folder = Field(Path("data"), description="Made when it is missing.")


class Redis(Section):
    """What several machines share. Without it a worker takes itself to be alone."""

    url: Annotated[str, _url("redis", "rediss", "unix", *SENTINEL_SCHEMES), _sentinel()] = Field(
        "",
        repr=False,  # may hold a password
        description="redis://host:6379/0, or redis+sentinel://host:26379,host:26379/NAME/0;"
        " empty: none.",
    )


class Call(Section):
    """Limits of a call that do not depend on the persona."""

    caller_timeout: Seconds = Field(
        30, ge=1, le=600, description="Seconds to wait for the caller to join the room."
    )


class Costs(Section):
    """What calls cost."""

    prices: Folder = Field(
        Path("config/prices.yaml"), description="The price book: what providers charge."
    )


class Outbound(Section):
    """Calls that we place: `python -m ops dial`, and colleagues in a warm transfer."""

    trunk: str = Field(
        "", description="The outbound trunk's id or name; empty: the only one that there is."
    )
    ringing: Seconds = Field(
        45, gt=0, le=80, description="Seconds for somebody to answer a call of `ops dial`."
    )
    voicemail_detection: bool = Field(
        default=True, description="Tell an answering machine from a person before speaking."
    )


class Security(Section):
    """Things that are refused unless they are asked for by name, and what hides callers."""

    caller_salt: SecretStr = Field(
        NO_SECRET,
        description="Callers' numbers are hashed with it; empty: with the data folder's own salt.",
    )
    traces_with_content: bool = Field(
        default=False, description="Let OpenTelemetry traces carry what people said."
    )

    allow_insecure_reports: bool = Field(
        default=False, description="Allow http:// in worker.report_to to another machine."
    )
    allow_insecure_livekit: bool = Field(
        default=False, description="Allow ws:// to a LiveKit server that is not on loopback."
    )


class Log(Section):
    """What the processes log: `start` writes one JSON object a line, `dev` writes for people."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least serious message that is written."
    )
    folder: Folder = Field(
        Path("data/logs"),
        description="Where log files are, if the service manager writes any: *.log, *.log.1 and so"
        " on. Backups take them, `ops cleanup` compresses them.",
    )


class Settings(Section):
    """Every setting of the product, checked. Made by `config.settings.load`."""

    livekit: Livekit = Livekit()
    worker: Worker = Worker()
    providers: Providers = Providers()
    speech: Speech = Speech()
    admission: Admission = Admission()
    personas: Personas = Personas()
    store: Store = Store()
    data: Data = Data()
    redis: Redis = Redis()
    call: Call = Call()
    costs: Costs = Costs()
    outbound: Outbound = Outbound()
    recording: Recording = Recording()
    serve: Serve = Serve()
    tokens: Tokens = Tokens()
    health: Health = Health()
    webhooks: Webhooks = Webhooks()
    rooms: Rooms = Rooms()
    notifications: Notifications = Notifications()
    incidents: Incidents = Incidents()
    recovery: Recovery = Recovery()
    backup: Backup = Backup()
    reports: Reports = Reports()
    canary: Canary = Canary()
    security: Security = Security()
    log: Log = Log()
    traces: Traces = Traces()

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """Keep where the values came from: `load` passes it as the context of validation."""
        self._origins = dict(context or {})

    def origin(self, key: str) -> str:
        """Where the value of `worker.max_calls` came from: default, a file's line, a variable."""
        return self._origins.get(key, "default")

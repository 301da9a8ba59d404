"""An in-memory phone line: 8 kHz G.711 in real time between a simulated caller and a job.

The `call` process holds a `Phone` for each call and one `Clock` for all of them; the job holds a
`Line`. A `Scenario` says what a caller does, `SimulatedCaller` does it, and the `Recording` tells
what was heard.
"""

from plugins.line.agent_end import Line, LineGone, TransferRefused, TransferTimeout
from plugins.line.caller import Keys, Manner, SimulatedCaller, Utterance
from plugins.line.clock import Clock
from plugins.line.hearing import Answer, Heard, audible, spans
from plugins.line.judge import Verdict, judge_line
from plugins.line.phone import Moment, NoAnswer, Person, Phone
from plugins.line.recording import Recording, agent_resumed, heard_latency, silenced_after
from plugins.line.scenario import (
    Expect,
    Outcome,
    Scenario,
    ScenarioError,
    load_scenario,
    recorded_caller,
    shipped,
)
from plugins.line.wire import Ended, Hello, LineError, TransferResult, WireError

__all__ = [
    "Answer",
    "Clock",
    "Ended",
    "Expect",
    "Heard",
    "Hello",
    "Keys",
    "Line",
    "LineError",
    "LineGone",
    "Manner",
    "Moment",
    "NoAnswer",
    "Outcome",
    "Person",
    "Phone",
    "Recording",
    "Scenario",
    "ScenarioError",
    "SimulatedCaller",
    "TransferRefused",
    "TransferResult",
    "TransferTimeout",
    "Utterance",
    "Verdict",
    "WireError",
    "agent_resumed",
    "audible",
    "heard_latency",
    "judge_line",
    "load_scenario",
    "recorded_caller",
    "shipped",
    "silenced_after",
    "spans",
]

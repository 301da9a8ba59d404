import pytest

from plugins.line.caller import Manner, SimulatedCaller, Utterance
from plugins.line.judge import judge_line
from plugins.line.recording import Recording
from plugins.line.scenario import Expect, Scenario
from tests.line_sounds import chain, silence, spelled, tone


def judged(expect: Expect, agent, start: float = 1.0, end: float = 2.0):
    caller = SimulatedCaller(
        Scenario(name="test", about="a test", steps=[{"say": "anything"}]), spelled
    )
    caller.log.append(Utterance(0, "anything", Manner.SPEECH, start, end, expect))
    side = chain(silence(start), tone(end - start), silence(4.0 - end))
    return judge_line(caller, Recording.of(side, agent))


@pytest.mark.parametrize(
    ("agent", "met", "seen"),
    [
        (chain(tone(1.5), silence(2.5)), True, "silent after 0.50 s, then 0.00 s audible"),
        (chain(tone(2.5), silence(1.5)), False, "silent after 1.50 s, then 0.00 s audible"),
        (tone(4.0), False, "it spoke on"),
        (
            chain(tone(1.2), silence(0.4), tone(2.4)),
            False,
            "silent after 0.20 s, then 0.40 s audible",
        ),
        (
            chain(tone(1.4), silence(1.0), tone(1.6)),
            True,
            "silent after 0.40 s, then 0.00 s audible",
        ),
    ],
)
def test_a_barge_in_must_silence_the_agent_and_keep_it_silent(agent, met, seen):
    (verdict,) = judged(Expect(agent="stops"), agent)
    assert (verdict.met, verdict.seen) == (met, seen)


@pytest.mark.parametrize(
    ("agent", "met", "seen"),
    [
        (tone(4.0), True, "silent for 0.00 s"),
        (chain(tone(1.3), silence(0.9), tone(1.8)), True, "silent for 0.90 s"),
        (chain(tone(1.0), silence(2.7), tone(0.3)), False, "silent for 2.70 s"),
        (chain(tone(1.3), silence(2.7)), False, "it fell silent for good"),
    ],
)
def test_a_backchannel_must_not_end_the_agents_sentence(agent, met, seen):
    (verdict,) = judged(Expect(agent="goes_on"), agent, end=1.3)
    assert (verdict.met, verdict.seen) == (met, seen)


@pytest.mark.parametrize(
    ("agent", "met", "seen"),
    [
        (chain(silence(2.4), tone(1.0)), True, "answered after 0.40 s"),
        (chain(silence(1.5), tone(2.0)), False, "it spoke for 0.50 s in between"),
        (silence(4.0), False, "no answer was heard"),
    ],
)
def test_an_utterance_must_be_answered_once_and_after_its_end(agent, met, seen):
    (verdict,) = judged(Expect(answered="once"), agent)
    assert (verdict.met, verdict.seen) == (met, seen)


def test_what_the_recording_cannot_tell_is_left_to_others():
    assert judged(Expect(fact="opening_hours", tool="end_call"), silence(4.0)) == []


def test_a_caller_who_gave_up_fails_the_scenario():
    caller = SimulatedCaller(
        Scenario(name="test", about="a test", steps=[{"listen": {"timeout": 0.01}}]), spelled
    )
    while not caller.tick(silence(0.02)).hang_up:
        pass
    (verdict,) = judge_line(caller, Recording())
    assert (verdict.step, verdict.met) == (None, False)
    assert "the agent was not heard" in verdict.seen

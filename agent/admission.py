"""May this job start, and may this caller come in? The rules; who counts is somebody else.

Load and hours are judged in the job request, before a process is taken (LiveKit Cloud ignores a
worker's own load). A room job carries no participant then: rules about the caller are judged when
the caller is there and the job asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from livekit.agents import AssignmentTimeoutError, JobRequest
from livekit.protocol.agent import Job

from agent import dispatch, log
from agent.call import VERDICT_ATTRIBUTE, EndReason, Verdict, now
from agent.places import Place, Places
from agent.starts import Starts, TurnAway
from config.numbers import e164, in_digits, matches
from config.persona import Persona
from config.sections import Admission as Section

logger = log.get(__name__)

MayCallAgain = Callable[[str], Awaitable[bool]]
"""Counts a call of a number, and says whether the number has calls left in this hour."""


Sort = Callable[[Job], Place | None]
"""Where a job belongs that is no caller's, or none for this worker: see `agent.canary.Sorting`."""


class Admission:
    """Judges job requests and callers of one worker."""

    def __init__(
        self,
        section: Section,
        personas: Mapping[str, Persona],
        places: Places,
        may_call_again: MayCallAgain,
        turn_away: TurnAway,
        starts: Starts,
        clock: Callable[[], datetime] = now,
        is_paused: Callable[[], bool] = lambda: False,
        sort: Sort = lambda _: None,
    ) -> None:
        """`is_paused`: an operator lets no call in for now, and callers hear that all is busy."""
        self._section = section
        self._personas = personas
        self._places = places
        self._may_call_again = may_call_again
        self._turn_away = turn_away
        self._starts = starts
        self._clock = clock
        self._is_paused = is_paused
        self._sort = sort
        self._verdicts: dict[str, Verdict] = {}

    async def decide(self, request: JobRequest) -> None:
        """Accept the job, pass it on to another worker, or end its call.

        A call that is not to be had (all are full, it is closed) is accepted into a courtesy
        slot: its job says so to the caller and hangs up.
        """
        match self._sort(request.job):
            case Place.ELSEWHERE:
                logger.info("a job was passed on", reason="not for this worker", job=request.id)
                await request.reject(terminate=False)
                return
            case Place.BESIDE:
                self._places.beside(request.id)
                self._verdicts[request.id] = Verdict.ADMITTED
                await self._accept(request, Verdict.ADMITTED)
                return
        verdict = self._hours(request.job.metadata)
        if verdict is Verdict.ADMITTED and self._is_paused():
            verdict = Verdict.BUSY
        place = await self._places.take(request.id, courtesy=verdict is not Verdict.ADMITTED)
        if verdict is Verdict.ADMITTED and place in {Place.COURTESY, Place.NOWHERE}:
            verdict = Verdict.BUSY
        if place is Place.ELSEWHERE:
            logger.info("a job was passed on", reason="full", job=request.id)
            # terminate=False: LiveKit tries the next worker instead of dropping the call.
            await request.reject(terminate=False)
        elif place is Place.NOWHERE:
            logger.warning("a call was turned away", reason=verdict.value, job=request.id)
            await request.reject(terminate=True)
            await self._turn_away(request.job, verdict.end_reason, "no courtesy slot was free")
        else:
            await self._accept(request, verdict)

    async def judge(self, job: str, persona: str, number: str, *, is_telephone: bool) -> Verdict:
        """The verdict on a caller who is there: who answers, and the number, are known now.

        The lists and the hourly count are about telephones: any other caller has a token of ours.
        """
        if given := self._verdicts.pop(job, None):
            return given
        if self._is_closed(self._personas.get(persona)):
            return Verdict.CLOSED
        if not is_telephone:
            return Verdict.ADMITTED
        section = self._section
        digits, number = in_digits(number, section.notation), e164(number, section.notation)
        is_allowed = not section.allowed or matches(number, section.allowed)
        # A letter within the digits hides nobody from the lists that keep callers out.
        is_blocked = any(
            matches(written, section.blocked) for written in {number, digits or number}
        )
        if not is_allowed or is_blocked:
            return Verdict.BLOCKED
        if digits and not await self._may_call_again(digits):
            return Verdict.TOO_OFTEN
        return Verdict.ADMITTED

    async def _accept(self, request: JobRequest, verdict: Verdict) -> None:
        self._verdicts = {k: v for k, v in self._verdicts.items() if self._places.holds(k)}
        attributes = None
        if verdict is not Verdict.ADMITTED:
            logger.warning("a call is answered by courtesy", reason=verdict.value, job=request.id)
            self._verdicts[request.id] = verdict
            attributes = {VERDICT_ATTRIBUTE: verdict.value}
        self._starts.expect(request.job)
        try:
            await request.accept(attributes=attributes)
        except AssignmentTimeoutError:
            self._starts.withdraw(request.id)  # LiveKit may have given it to another worker
            raise
        except Exception as error:
            # The boundary of a launch: whatever it failed of, the caller is in the room already.
            logger.exception("a job that was accepted could not be started", job=request.id)
            if self._starts.withdraw(request.id):
                why = f"the job could not be started: {type(error).__name__}"
                await self._turn_away(request.job, EndReason.AGENT_ERROR, why)
        else:
            self._starts.launched(request.id)
        finally:
            self._places.settle(request.id)

    def _hours(self, metadata: str) -> Verdict:
        """Closed if whoever may answer is: the persona of the metadata, else any of them."""
        named = dispatch.named(self._personas, dispatch.by_job(metadata).persona)
        may_answer = [named] if named else list(self._personas.values())
        closed = all(self._is_closed(persona) for persona in may_answer)
        return Verdict.CLOSED if closed else Verdict.ADMITTED

    def _is_closed(self, persona: Persona | None) -> bool:
        if persona is None or persona.hours is None or not self._section.observe_hours:
            return False
        return not persona.hours.is_open(self._clock())

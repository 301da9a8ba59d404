"""What may be chosen for one call or one called number: who answers, where to, how long."""

from __future__ import annotations

from pydantic import Field

from config.fields import Number, Section, Text
from config.persona import Target


class Dispatch(Section):
    """Choices over the persona's own. What is null is left as it is."""

    persona: Text | None = Field(None, description="Who answers: the name of a persona.")
    transfer_to: Target | None = Field(None, description="Where a caller is sent: tel: or sip:.")
    max_duration: Number | None = Field(
        None, gt=0, le=86400, description="Seconds that a call may be, from its answer."
    )

    def over(self, weaker: Dispatch) -> Dispatch:
        """These choices, and those of `weaker` where there is none."""
        chosen = self.model_dump(exclude_none=True)
        return weaker.model_copy(update=chosen)

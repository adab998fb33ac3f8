"""How a look at the gateway is judged: the one result of the sensor's, the operator's and the trigger's loops."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from airflow_provider_fireworks.client.errors import one_line


class Outcome(str, Enum):
    """What a wait has come to. All but ``PENDING`` end it."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    TIMEOUT = "timeout"
    ACCESS_DENIED = "access_denied"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    BAD_CONNECTION = "bad_connection"
    UNREACHABLE = "unreachable"
    """What answers at the Base URL is not the Fireworks API."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Verdict:
    """
    An outcome, and why.

    :ivar reason: in words, for the log and for the exception.
    :ivar precision: the one that the model is ready at; ``None`` unless it is.
    :ivar inferred: ready by inference, not because the gateway says so.
    :ivar may_post_again: failed in a way that another ``POST`` may mend.
    """

    outcome: Outcome
    reason: Annotated[str, AfterValidator(lambda reason: one_line(reason, limit=2000))]
    precision: str | None = None
    inferred: bool = False
    may_post_again: bool = False

    @property
    def ends(self) -> bool:
        """Whether the wait is over."""
        return self.outcome is not Outcome.PENDING

    def as_event(self, carry: dict[str, Any]) -> dict[str, Any]:
        """Return the payload of a trigger's event, plain JSON: the verdict, and what the task gave along."""
        verdict: dict[str, Any] = _VERDICT.dump_python(self, mode="json")
        return {"verdict": verdict, "carry": carry}

    @classmethod
    def of_event(cls, event: Any) -> tuple[Verdict, dict[str, Any]]:
        """
        Check what a trigger has sent, and return the verdict with what the task gave along.

        :param event: the payload that a deferred task resumes with.
        :raises ValueError: if it is no verdict, or one that the wait is not over.
        """
        if (
            not isinstance(event, dict)
            or event.keys() != {"verdict", "carry"}
            or not isinstance(event["carry"], dict)
        ):
            raise ValueError("it is no verdict")
        verdict = _VERDICT.validate_python(event["verdict"])
        if not verdict.ends:
            raise ValueError("it says that the wait is not over")
        return verdict, event["carry"]


_VERDICT = TypeAdapter(Verdict)

"""What checking the arguments of any task takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from airflow_provider_fireworks.exceptions import FireworksInvalidArgument

if TYPE_CHECKING:
    from typing_extensions import Self


def is_literal(value: Any) -> bool:
    """Whether a value stands in the DAG file as it is: no template, no other task's output, nothing mapped."""
    return isinstance(value, (int, float)) or (
        isinstance(value, str) and "{{" not in value and "{%" not in value
    )


def several(value: Any) -> Sequence[Any]:
    """Return a list as it is, and anything else as a list of one."""
    return value if isinstance(value, (list, tuple)) else [value]


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what a check finds in the block into the exception of a task, and so into an import error of the DAG."""
    try:
        yield
    except ValueError as error:
        raise FireworksInvalidArgument(str(error)) from None


def check_literal(value: Any, check: Callable[[Any], Any]) -> None:
    """Check a value if it is a literal."""
    if is_literal(value):
        check(value)


def _listed(value: Any) -> Any:
    return list(several(value)) if isinstance(value, (str, list, tuple)) else value


def _seconds(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)]
Listed = Annotated[list[str], BeforeValidator(_listed)]


class TimeLimit(NamedTuple):
    """How long a task may wait, in seconds, and the argument that says so."""

    argument: Literal["timeout", "execution_timeout"]
    seconds: float


class Arguments(BaseModel):
    """The rendered arguments, checked and of the right types: a template renders text, and so ``"600"`` is a number."""

    model_config = ConfigDict(extra="forbid")

    account_id: str | None = None
    fireworks_conn_id: str | None = None

    @classmethod
    def check(cls, **arguments: Any) -> Self:
        """
        Check rendered arguments.

        :raises FireworksInvalidArgument: naming each that is wrong; nothing has been sent.
        """
        try:
            return cls(**arguments)
        except ValidationError as error:
            raise FireworksInvalidArgument("; ".join(map(_told, error.errors()))) from None


class WaitingArguments(Arguments):
    """Those of a task that waits."""

    deferrable: bool = False
    poll_interval: Seconds
    timeout: Seconds

    def time_limit(self, execution_timeout: timedelta | None) -> TimeLimit:
        """
        Return how long the task may wait: the smaller of its two time limits.

        Airflow itself does not end a deferred task by ``execution_timeout``.
        """
        if execution_timeout is not None and execution_timeout.total_seconds() < self.timeout:
            return TimeLimit("execution_timeout", execution_timeout.total_seconds())
        return TimeLimit("timeout", self.timeout)


def _told(problem: Any) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {message}, not {problem['input']!r}" if place else message

"""What a check returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

OptionValue = bool | int | str


@dataclass(frozen=True)
class EmulatorOption:
    """
    An option of the emulator that plays what the API does.

    :ivar name: as in :class:`airflow_provider_fireworks.emulator.options.Options`.
    :ivar because: what the API did.
    """

    name: str
    value: OptionValue
    because: str

    @property
    def flag(self) -> str:
        """The option on the emulator's command line."""
        flag = self.name.replace("_", "-")
        if isinstance(self.value, bool):
            return f"--{flag}" if self.value else f"--no-{flag}"
        return f"--{flag} {self.value}"

    @property
    def keyword(self) -> str:
        """The option as a keyword argument."""
        value = f'"{self.value}"' if isinstance(self.value, str) else self.value
        return f"{self.name}={value}"


@dataclass(frozen=True)
class Result:
    """
    What a check found.

    :ivar name: the name of the check.
    :ivar ok: whether it passed, ``None`` if that is not known or it did not run.
    :ivar detail: what was found, in one or more lines.
    :ivar settles: the options of the emulator that it settles.
    """

    name: str
    ok: bool | None
    detail: str
    settles: tuple[EmulatorOption, ...] = ()

    def hide(self, hide_key: Callable[[str], str]) -> Result:
        """
        Return the result without the API key.

        :param hide_key: returns a text without the key.
        """
        settles = tuple(replace(each, because=hide_key(each.because)) for each in self.settles)
        return replace(self, detail=hide_key(self.detail), settles=settles)

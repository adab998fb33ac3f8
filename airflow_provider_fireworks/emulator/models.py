"""One model and what preparing does to it: a state machine that is told the time; nothing runs by itself."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_fireworks.client.precision import Precision
from airflow_provider_fireworks.emulator.records import AcceptedPreparation
from airflow_provider_fireworks.emulator.responses import ErrorResponse

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.options import Options

Step = Literal["begin", "end", "list", "uploaded"]

#: What came of asking for a preparation: a new one, nothing to do (any more), or silently nothing.
Asked = Literal["accepted", "already", "ignored"]

_UNCALIBRATED = frozenset({Precision.FP16.value, Precision.BF16.value})
_LISTS = ("supportedPrecisions", "supportedPrecisionsWithCalibration")
_NEWER_FIELDS = (
    "supportsServerless",
    "supervisedLoraTunable",
    "supervisedFullParameterTunable",
    "rlLoraTunable",
    "rlFullParameterTunable",
)
_STALE = {"code": "INTERNAL", "message": "an earlier operation on this model failed"}

_BLANK: dict[str, Any] = {
    "baseModelDetails": None,
    "calibrated": False,
    "cluster": "",
    "contextLength": 4096,
    "conversationConfig": {"style": "", "system": "", "template": ""},
    "createTime": "",
    "defaultDraftModel": "",
    "defaultDraftTokenCount": 0,
    "defaultSamplingParams": {"temperature": 1, "top_k": 50, "top_p": 1},
    "deployedModelRefs": [],
    "deprecationDate": None,
    "description": "",
    "displayName": "",
    "fineTuningJob": "",
    "githubUrl": "",
    "huggingFaceUrl": "",
    "importedFrom": "",
    "kind": "HF_BASE_MODEL",
    "name": "",
    "peftDetails": {
        "baseModel": "",
        "baseModelType": "",
        "mergeAddonModelName": "",
        "r": 0,
        "targetModules": [],
    },
    "public": False,
    "rlTunable": False,
    "state": "READY",
    "supportedPrecisions": [],
    "supportedPrecisionsWithCalibration": [],
    "supportsImageInput": False,
    "supportsLora": True,
    "supportsTools": False,
    "teftDetails": None,
    "trainingContextLength": 0,
    "tunable": False,
    "updateTime": "",
    "useHfApplyChatTemplate": False,
}
_BLANK_DETAILS: dict[str, Any] = {
    "checkpointFormat": "NATIVE",
    "defaultPrecision": "FP16",
    "modelType": "",
    "moe": False,
    "parameterCount": "6000000000",
    "supportsFireattention": True,
    "supportsMtp": False,
    "tunable": False,
    "worldSize": 1,
}
_KNOWN_FIELDS = frozenset({*_BLANK, *_NEWER_FIELDS, "status", "snapshotType"})


def rfc3339(at: float) -> str:
    """Return seconds since 1970 as the API writes times: UTC, with 0, 3, 6 or 9 fractional digits."""
    seconds = math.floor(at)
    digits = f"{int((at - seconds) * 1_000_000_000):09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    text = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{digits}Z" if digits else f"{text}Z"


def check_fields(fields: dict[str, Any]) -> None:
    """
    Refuse fields that no model has. Their values are free, so that a test can play what no schema knows yet.

    :raises ValueError: naming the first one.
    """
    for name in fields:
        if name not in _KNOWN_FIELDS:
            raise ValueError(
                f"{name!r} is no field of a model; those are: {', '.join(sorted(_KNOWN_FIELDS))}"
            )


@dataclass(order=True)
class _Event:
    """Something that will have happened to the model at a time."""

    at: float
    number: int
    step: Step = field(compare=False)
    precision: str = field(compare=False)
    options: Options = field(compare=False)


class EmulatedModel:
    """
    A model of the emulated API.

    ``settle(now)`` lets everything happen that was due by then, each thing at its own time; ask for nothing
    else before it.

    :param account: id of the account that it belongs to.
    :param model: its id.
    :param at: when it was created, in seconds since 1970.
    :param fields: fields as the API sends them, over those of a READY base model at FP16. Of
        ``baseModelDetails`` only the parts that differ are needed.
    """

    def __init__(self, account: str, model: str, at: float, /, **fields: Any) -> None:
        check_fields(fields)
        self.account = account
        self.model = model
        self._events: list[_Event] = []
        self._active: set[str] = set()
        self._begun: set[str] = set()
        self._number = 0
        details = fields.pop("baseModelDetails", None)
        is_base = fields.get("kind", _BLANK["kind"]) == "HF_BASE_MODEL"
        if details is not None or is_base:
            details = {**_BLANK_DETAILS, **(details or {})}
        lists: dict[str, Any] = {"supportedPrecisions": [details["defaultPrecision"]]} if details else {}
        self._fields: dict[str, Any] = {
            **copy.deepcopy(_BLANK),
            **dict.fromkeys(_NEWER_FIELDS, False),
            **lists,
            "name": self.name,
            "createTime": rfc3339(at),
            "updateTime": rfc3339(at),
            "baseModelDetails": details,
            **copy.deepcopy(fields),
        }

    @property
    def name(self) -> str:
        """The full resource name."""
        return f"accounts/{self.account}/models/{self.model}"

    @property
    def state(self) -> str:
        """The state, as it is read."""
        return str(self._fields["state"])

    @property
    def is_public(self) -> bool:
        """Whether anyone may read it."""
        return bool(self._fields["public"])

    @property
    def kind(self) -> str:
        """The field of that name."""
        return str(self._fields["kind"])

    @property
    def adds_to(self) -> str:
        """The full name of the model that an add-on belongs to, ``""`` for any other."""
        return str((self._fields["peftDetails"] or {}).get("baseModel", "")) if "ADDON" in self.kind else ""

    @property
    def details(self) -> dict[str, Any]:
        """Its ``baseModelDetails``, empty if it has none."""
        return dict(self._fields["baseModelDetails"] or {})

    def is_prepared_for(self, precision: str) -> bool:
        """Whether it can be deployed at a precision, whatever of that is shown."""
        return precision in self._prepared() - self._active

    def settle(self, now: float) -> None:
        """Let everything happen that was due by ``now``, in order."""
        self._events.sort()
        while self._events and self._events[0].at <= now:
            self._happen(self._events.pop(0))

    def upload(self, at: float, options: Options) -> None:
        """Be UPLOADING from ``at`` on, for :attr:`Options.upload_duration` seconds."""
        if options.upload_duration > 0:
            self._fields["state"] = "UPLOADING"
            self._plan(at + options.upload_duration, "uploaded", "", options)

    def prepare(
        self, precision: str, at: float, options: Options
    ) -> tuple[Asked, AcceptedPreparation | None]:
        """
        Ask for a preparation, as ``POST …/models/{model}:prepare`` does.

        :param precision: a precision's name, other than ``PRECISION_UNSPECIFIED``.
        :param at: when it was asked for, in seconds since 1970.
        :param options: hold for this preparation until it ends.
        :return: what came of it, and the preparation if it is a new one.
        :raises ErrorResponse: where the options say that it is refused, for a model that is still UPLOADING,
            and for add-ons.
        """
        if self.state == "UPLOADING":
            raise ErrorResponse("FAILED_PRECONDITION", f"model {self.name} is still being uploaded")
        if "ADDON" in self.kind:
            raise ErrorResponse(
                "FAILED_PRECONDITION", f"model {self.name} is an add-on: prepare its base model"
            )
        if precision in self._active:
            return self._repeated(options.same_prepare, f"is being prepared at {precision}")
        if precision in self._prepared():
            return self._repeated(options.already_prepared, f"is prepared at {precision} already")
        if self._active:
            if options.second_prepare == "ignored":
                return "ignored", None
            if options.second_prepare != "accepted":
                self._repeated(
                    options.second_prepare, f"is being prepared at {', '.join(sorted(self._active))}"
                )
        outcome = options.outcome_of(precision)
        if outcome != "never":
            self._active.add(precision)
            begin = at + options.start_lag
            end = begin + options.duration
            self._plan(begin, "begin", precision, options)
            self._plan(end, "end", precision, options)
            if outcome in ("ok", "calibrated"):
                self._plan(end + options.lists_lag, "list", precision, options)
        return "accepted", AcceptedPreparation(self.account, self.model, precision, at, outcome)

    def edit(self, at: float, fields: dict[str, Any]) -> None:
        """Change fields as a user does with ``PATCH``: ``updateTime`` moves."""
        details = fields.get("baseModelDetails")
        if details is not None:
            fields = {**fields, "baseModelDetails": {**(self._fields["baseModelDetails"] or {}), **details}}
        self._fields.update(copy.deepcopy(fields))
        self._fields["updateTime"] = rfc3339(at)

    def force(self, fields: dict[str, Any]) -> None:
        """
        Set fields to anything, past all rules. ``updateTime`` stays unless it is among them.

        Forcing the state also forgets what is being prepared, so that the state stays as it was set.
        """
        check_fields(fields)
        if "state" in fields:
            self._events.clear()
            self._active.clear()
            self._begun.clear()
        self._fields.update(copy.deepcopy(fields))

    def payload(self, options: Options) -> dict[str, Any]:
        """Return the model as ``GET …/models/{model}`` sends it."""
        sent = copy.deepcopy(self._fields)
        well = _STALE if options.stale_status and self.state != "UPLOADING" else {"code": "OK", "message": ""}
        sent.setdefault("status", dict(well))
        if options.precision_lists == "absent":
            for name in _LISTS:
                del sent[name]
        else:
            for name in _NEWER_FIELDS:
                del sent[name]
            if options.precision_lists == "empty":
                sent.update({name: [] for name in _LISTS})
        return dict(sorted(sent.items()))

    def _plan(self, at: float, step: Step, precision: str, options: Options) -> None:
        # Numbered, so that what is planned for one moment happens in the order in which it was planned.
        self._number += 1
        self._events.append(_Event(at, self._number, step, precision, options))

    def _prepared(self) -> set[str]:
        """What the API knows the model to be prepared for, also where the lists still lag behind."""
        details = self._fields["baseModelDetails"] or {}
        plain, calibrated = (self._fields[name] or [] for name in _LISTS)
        return {
            *plain,
            *(calibrated if self._fields["calibrated"] else []),
            details.get("defaultPrecision", ""),
            *(event.precision for event in self._events if event.step == "list"),
        }

    def _repeated(self, how: str, what: str) -> tuple[Asked, AcceptedPreparation | None]:
        if how == "ok":
            return "already", None
        raise ErrorResponse(how.upper(), f"model {self.name} {what}")

    def _happen(self, event: _Event) -> None:
        options, precision = event.options, event.precision
        if event.step == "list":
            name = _LISTS[1] if options.outcome_of(precision) == "calibrated" else _LISTS[0]
            listed = self._fields[name] or []
            self._fields[name] = listed if precision in listed else [*listed, precision]
            return
        if event.step == "begin":
            self._begun.add(precision)
            self._fields["state"] = "PREPARING"
            self._clear_status(options)
        elif event.step == "end":
            self._end(precision, options)
        else:
            self._fields["state"] = "READY"
        if options.bump_update_time or event.step == "uploaded":
            self._fields["updateTime"] = rfc3339(event.at)

    def _end(self, precision: str, options: Options) -> None:
        outcome = options.outcome_of(precision)
        self._active.discard(precision)
        self._begun.discard(precision)
        if outcome in ("failed_status", "failed_state"):
            message = f"preparing the model at {precision} failed"
            self._fields["status"] = {"code": "INTERNAL", "message": message}
        else:
            self._clear_status(options)
        if outcome == "calibrated" or (outcome == "ok" and precision not in _UNCALIBRATED):
            self._fields["calibrated"] = True
        # While another preparation runs, the model stays PREPARING; the last one to end sets the state.
        if not self._begun:
            self._fields["state"] = "FAILED" if outcome == "failed_state" else "READY"

    def _clear_status(self, options: Options) -> None:
        if not options.stale_status:
            self._fields.pop("status", None)

"""One model and its preparations: a state machine that is given the time and does nothing by itself."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_fireworks.client.precision import Precision
from airflow_provider_fireworks.emulator.model_upload import ModelUpload
from airflow_provider_fireworks.emulator.resource import OK_STATUS, check_fields, rfc3339
from airflow_provider_fireworks.emulator.responses import ErrorResponse

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.options import Options

PrepareResult = Literal["accepted", "already", "ignored", "aborted"]

_UNCALIBRATED = frozenset({Precision.FP16.value, Precision.BF16.value})
_LISTS = ("supportedPrecisions", "supportedPrecisionsWithCalibration")
# Sent instead of the lists since schema 5.
_NEWER_FIELDS = (
    "supportsServerless",
    "supervisedLoraTunable",
    "supervisedFullParameterTunable",
    "rlLoraTunable",
    "rlFullParameterTunable",
)
_STALE_STATUS = {"code": "INTERNAL", "message": "an earlier operation on this model failed"}

#: The files that the upload of an add-on can have.
ADAPTER_FILES = frozenset({"adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"})
BLANK_DETAILS: dict[str, Any] = {
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
BLANK_PEFT_DETAILS: dict[str, Any] = {
    "baseModel": "",
    "baseModelType": "",
    "mergeAddonModelName": "",
    "r": 0,
    "targetModules": [],
}
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
    "peftDetails": BLANK_PEFT_DETAILS,
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
MODEL_FIELDS = frozenset({*_BLANK, *_NEWER_FIELDS, "status", "snapshotType"})


@dataclass
class _PlannedChange:
    at: float
    what: Literal["begin", "end", "list"]
    precision: str
    options: Options


class EmulatedModel:
    """
    A model of the emulated API.

    Call :meth:`advance` before anything else: it applies the changes that are due.

    :param at: creation time in seconds since the epoch.
    :param fields: fields as the API sends them, overriding those of a READY base model at FP16;
        ``baseModelDetails`` is merged.
    :raises ValueError: for an unknown field.
    """

    def __init__(self, account: str, model_id: str, at: float, /, **fields: Any) -> None:
        check_fields(fields, MODEL_FIELDS, "model")
        self.account = account
        self.id = model_id
        self.upload = ModelUpload()
        self._planned: list[_PlannedChange] = []
        self._active: set[str] = set()
        self._begun: set[str] = set()
        details = fields.pop("baseModelDetails", None)
        if details is not None or fields.get("kind", _BLANK["kind"]) == "HF_BASE_MODEL":
            details = {**BLANK_DETAILS, **(details or {})}
        self._fields: dict[str, Any] = copy.deepcopy(
            {
                **_BLANK,
                **dict.fromkeys(_NEWER_FIELDS, False),
                "supportedPrecisions": [details["defaultPrecision"]] if details else [],
                "name": self.name,
                "createTime": rfc3339(at),
                "updateTime": rfc3339(at),
                "baseModelDetails": details,
                **fields,
            }
        )

    @property
    def name(self) -> str:
        return f"accounts/{self.account}/models/{self.id}"

    @property
    def state(self) -> str:
        return str(self._fields["state"])

    @property
    def is_public(self) -> bool:
        return bool(self._fields["public"])

    @property
    def is_addon(self) -> bool:
        return "ADDON" in self._fields["kind"]

    @property
    def base_model(self) -> str:
        """The full name of the base model of an add-on, or ``""``."""
        return str((self._fields["peftDetails"] or {}).get("baseModel", "")) if self.is_addon else ""

    @property
    def default_precision(self) -> str:
        return str(self._details.get("defaultPrecision", ""))

    @property
    def world_size(self) -> int:
        """The number of GPUs that it needs."""
        return int(self._details.get("worldSize") or 1)

    @property
    def _details(self) -> dict[str, Any]:
        return self._fields["baseModelDetails"] or {}

    def is_prepared_for(self, precision: str) -> bool:
        """Return whether it can be deployed at a precision, even if the precision lists do not show it."""
        return precision in self._prepared() - self._active

    def advance(self, now: float) -> None:
        """Apply all changes that are due, each at its own time."""
        # The sort is stable: changes planned for the same time keep their order.
        self._planned.sort(key=lambda change: change.at)
        while self._planned and self._planned[0].at <= now:
            self._apply(self._planned.pop(0))

    def validate_upload(self, at: float, options: Options) -> list[str]:
        """
        Respond to ``GET …/models/{model}:validateUpload``: an UPLOADING model becomes READY.

        :return: the warnings.
        :raises ErrorResponse: if the files are not complete or not valid.
        """
        if self.state != "UPLOADING":
            return []
        warnings = self.upload.validate(self._required_files(), at, options)
        self._fields["state"] = "READY"
        self._fields["updateTime"] = rfc3339(at)
        return warnings

    def prepare(
        self, precision: str, at: float, options: Options, *, refusal: ErrorResponse | None = None
    ) -> PrepareResult:
        """
        Respond to ``POST …/models/{model}:prepare``.

        :param options: apply to this preparation until its end.
        :param refusal: raised instead of starting a preparation.
        :return: ``accepted`` if a preparation starts.
        :raises ErrorResponse: if the options refuse it, the model is UPLOADING, or it is an add-on.
        """
        if self.state == "UPLOADING":
            raise ErrorResponse("FAILED_PRECONDITION", f"model {self.name} is still being uploaded")
        if self.is_addon:
            raise ErrorResponse(
                "FAILED_PRECONDITION", f"model {self.name} is an add-on: prepare its base model"
            )
        if precision in self._active:
            return self._already(options.same_prepare, f"is being prepared at {precision}")
        if precision in self._prepared():
            return self._already(options.already_prepared, f"is already prepared at {precision}")
        if self._active and options.second_prepare == "ignored":
            return "ignored"
        if self._active and options.second_prepare != "accepted":
            running = ", ".join(sorted(self._active))
            self._already(options.second_prepare, f"is being prepared at {running}")
        if refusal is not None:
            raise refusal
        outcome = options.outcome_of(precision)
        if outcome != "never":
            self._active.add(precision)
            begin = at + options.start_lag
            end = begin + options.duration
            self._plan(begin, "begin", precision, options)
            self._plan(end, "end", precision, options)
            if outcome in ("ok", "calibrated"):
                self._plan(end + options.lists_lag, "list", precision, options)
        return "accepted"

    def abort(self, at: float, options: Options) -> PrepareResult:
        """
        Respond to ``POST …/models/{model}:prepare`` with ``abort``: stop all active preparations.

        Preparations that have ended stay, even if the precision lists do not show them yet.

        :return: ``aborted``, or ``ignored`` if nothing is being prepared.
        :raises ErrorResponse: if nothing is being prepared and the options refuse it.
        """
        if not self._active:
            if options.abort_idle == "ok":
                return "ignored"
            raise ErrorResponse(options.abort_idle.upper(), f"model {self.name} is not being prepared")
        message = f"preparing the model at {', '.join(sorted(self._active))} was aborted"
        self._planned = [change for change in self._planned if change.precision not in self._active]
        self._active.clear()
        self._begun.clear()
        self._fields["state"] = "READY"
        if options.abort_status == "cancelled":
            self._fields["status"] = {"code": "CANCELLED", "message": message}
        else:
            self._clear_status(options)
        if options.bump_update_time:
            self._fields["updateTime"] = rfc3339(at)
        return "aborted"

    def edit(self, at: float, fields: dict[str, Any]) -> None:
        """Respond to ``PATCH …/models/{model}``."""
        details = fields.get("baseModelDetails")
        if details is not None:
            fields = {**fields, "baseModelDetails": {**self._details, **details}}
        self._fields.update(copy.deepcopy(fields))
        self._fields["updateTime"] = rfc3339(at)

    def force(self, fields: dict[str, Any]) -> None:
        """
        Set fields to any value. ``updateTime`` changes only if it is among them.

        Setting ``state`` also cancels running preparations, so that the state stays.

        :raises ValueError: for an unknown field.
        """
        check_fields(fields, MODEL_FIELDS, "model")
        if "state" in fields:
            self._planned.clear()
            self._active.clear()
            self._begun.clear()
        self._fields.update(copy.deepcopy(fields))

    def payload(self, options: Options) -> dict[str, Any]:
        """Return the model as the API sends it."""
        hidden = set(_LISTS if options.precision_lists == "absent" else _NEWER_FIELDS)
        sent = {name: value for name, value in self._fields.items() if name not in hidden}
        if options.precision_lists == "empty":
            sent.update({name: [] for name in _LISTS})
        stale = options.stale_status and self.state != "UPLOADING"
        sent.setdefault("status", _STALE_STATUS if stale else OK_STATUS)
        return copy.deepcopy(dict(sorted(sent.items())))

    def _plan(
        self, at: float, what: Literal["begin", "end", "list"], precision: str, options: Options
    ) -> None:
        self._planned.append(_PlannedChange(at, what, precision, options))

    def _required_files(self) -> list[frozenset[str]]:
        """Return the files that an upload must have: one of each set."""
        if self.is_addon:
            config = frozenset({"adapter_config.json"})
            return [config, ADAPTER_FILES - config]
        has_config = self._details.get("checkpointFormat") == "HUGGINGFACE"
        return [frozenset({"config.json"})] if has_config else []

    def _prepared(self) -> set[str]:
        """Return the prepared precisions, including those that the lists do not show yet."""
        plain, calibrated = (self._fields[name] or [] for name in _LISTS)
        return {
            *plain,
            *(calibrated if self._fields["calibrated"] else []),
            self.default_precision,
            *(change.precision for change in self._planned if change.what == "list"),
        }

    def _already(self, response: str, what: str) -> PrepareResult:
        if response == "ok":
            return "already"
        raise ErrorResponse(response.upper(), f"model {self.name} {what}")

    def _apply(self, change: _PlannedChange) -> None:
        options, precision = change.options, change.precision
        if change.what == "list":
            name = _LISTS[1] if options.outcome_of(precision) == "calibrated" else _LISTS[0]
            listed = self._fields[name] or []
            self._fields[name] = listed if precision in listed else [*listed, precision]
            return
        if change.what == "begin":
            self._begun.add(precision)
            self._fields["state"] = "PREPARING"
            self._clear_status(options)
        else:
            self._end(precision, options)
        if options.bump_update_time:
            self._fields["updateTime"] = rfc3339(change.at)

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
        # The model stays PREPARING until the last preparation ends, which sets the state.
        if not self._begun:
            self._fields["state"] = "FAILED" if outcome == "failed_state" else "READY"

    def _clear_status(self, options: Options) -> None:
        if not options.stale_status:
            self._fields.pop("status", None)

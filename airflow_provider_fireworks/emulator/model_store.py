"""The models of the emulated API, and what the API key can do with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.client.names import check_id
from airflow_provider_fireworks.emulator.emulated_model import ADAPTER_FILES, EmulatedModel
from airflow_provider_fireworks.emulator.options import PUBLIC_ACCOUNT
from airflow_provider_fireworks.emulator.records import AcceptedPreparation
from airflow_provider_fireworks.emulator.resource import rfc3339
from airflow_provider_fireworks.emulator.responses import ErrorResponse, not_found, quota_exceeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator.emulated_model import PrepareResult
    from airflow_provider_fireworks.emulator.state import State

_DAY = 86_400
# GPUs that a preparation uses unless the request sets acceleratorCount. Their type is not published.
_PREPARATION_GPUS, _PREPARATION_GPU_TYPE = 8, "NVIDIA_H100_80GB"


class ModelStore:
    """All models. Starts with the initial ones."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._models: dict[tuple[str, str], EmulatedModel] = {}
        self._add_initial()

    def all(self) -> list[EmulatedModel]:
        """Return the models of all accounts, by name."""
        return [self._advanced(model) for _, model in sorted(self._models.items())]

    def find(self, account: str, model_id: str) -> EmulatedModel | None:
        """Return a model of any account."""
        found = self._models.get((account, model_id))
        return None if found is None else self._advanced(found)

    def readable(self, account: str) -> list[EmulatedModel]:
        """Return the models of an account that the key can read, by name."""
        if account != PUBLIC_ACCOUNT:
            self._state.check_own(account)
        return [
            model
            for model in self.all()
            if model.account == account and (account != PUBLIC_ACCOUNT or model.is_public)
        ]

    def read(self, account: str, model_id: str) -> EmulatedModel:
        """Return a model that the key can read: its own or a public one."""
        if account != PUBLIC_ACCOUNT:
            self._state.check_own(account)
        found = self.find(account, model_id)
        if found is None or (account == PUBLIC_ACCOUNT and not found.is_public):
            raise not_found()
        return found

    def own(self, account: str, model_id: str) -> EmulatedModel:
        """Return a model that the key can change."""
        found = self.read(account, model_id)
        self._state.check_own(account)
        return found

    def add(self, account: str, model_id: str, /, **fields: Any) -> EmulatedModel:
        """
        Add a model to any account; see :class:`EmulatedModel`.

        :raises ValueError: for an invalid id, an unknown field, or a model that exists.
        """
        key = (check_id(account, "account id"), check_id(model_id, "model id"))
        if key in self._models:
            raise ValueError(f"accounts/{account}/models/{model_id} already exists")
        self._models[key] = EmulatedModel(account, model_id, self._state.clock(), **fields)
        return self._models[key]

    def create(self, account: str, model_id: str, fields: dict[str, Any]) -> EmulatedModel:
        """Respond to ``POST …/models``."""
        self._state.check_own(account)
        if (account, model_id) in self._models:
            message = f"model accounts/{account}/models/{model_id} already exists"
            raise ErrorResponse("ALREADY_EXISTS", message)
        return self.add(account, model_id, **fields, state="UPLOADING")

    def upload_urls(self, account: str, model_id: str, sizes: dict[str, int]) -> dict[str, str]:
        """
        Respond to ``POST …/models/{model}:getUploadEndpoint``.

        :param sizes: the size of each file in bytes.
        :return: a signed URL for each file.
        """
        model = self.own(account, model_id)
        for name, size in sizes.items():
            _check_file(name, size)
            if model.is_addon and name not in ADAPTER_FILES:
                message = f"unexpected file {name!r} of an add-on: use {', '.join(sorted(ADAPTER_FILES))}"
                raise ErrorResponse("INVALID_ARGUMENT", message)
        model.upload.announce(sizes)
        return {name: self._state.upload_urls.sign(model, name, size) for name, size in sizes.items()}

    def validate_upload(self, account: str, model_id: str) -> list[str]:
        """Respond to ``GET …/models/{model}:validateUpload``; see :meth:`EmulatedModel.validate_upload`."""
        model = self.own(account, model_id)
        result = "refused"
        try:
            if model.state == "UPLOADING" and not model.upload.is_complete:
                result = "early"
            warnings = model.validate_upload(self._state.clock(), self._state.options)
            result = "accepted"
        finally:
            self._state.counts[f"validation {result}"] += 1
        return warnings

    def remove(self, account: str, model_id: str) -> bool:
        """Remove a model and its preparations, and return whether it existed."""
        return self._models.pop((account, model_id), None) is not None

    def delete(self, account: str, model_id: str) -> None:
        """
        Respond to ``DELETE …/models/{model}``.

        :raises ErrorResponse: if the model has deployments, or had some until recently.
        """
        model = self.own(account, model_id)
        used_until = self._state.deployments.used_until(model.name)
        if used_until + self._state.options.model_release_lag > self._state.clock():
            raise ErrorResponse("FAILED_PRECONDITION", f"model {model.name} has active deployments")
        self.remove(account, model_id)

    def prepare(
        self, account: str, model_id: str, precision: str, accelerator_count: int | None = None
    ) -> None:
        """Respond to ``POST …/models/{model}:prepare``; see :meth:`EmulatedModel.prepare`."""
        state, refusal = self._state, self._refusal(account, accelerator_count or _PREPARATION_GPUS)
        result = self._respond(
            account,
            model_id,
            lambda model: model.prepare(precision, state.clock(), state.options, refusal=refusal),
        )
        if result == "accepted":
            self._state.preparations.append(
                AcceptedPreparation(account, model_id, precision, accelerator_count)
            )

    def abort(self, account: str, model_id: str) -> None:
        """Respond to ``POST …/models/{model}:prepare`` with ``abort``; see :meth:`EmulatedModel.abort`."""
        state = self._state
        self._respond(account, model_id, lambda model: model.abort(state.clock(), state.options))

    def _respond(
        self, account: str, model_id: str, carry_out: Callable[[EmulatedModel], PrepareResult]
    ) -> str:
        """Carry out a prepare request, and count and return its result."""
        result = "refused"
        try:
            model = self.own(account, model_id)
            if self._state.options.zero_data_retention:
                message = f"models of account {account} cannot be prepared: it has zero data retention"
                raise ErrorResponse("FAILED_PRECONDITION", message)
            result = carry_out(model)
        finally:
            self._state.counts[f"prepare {result}"] += 1
        return result

    def _refusal(self, account: str, gpus: int) -> ErrorResponse | None:
        """Return the error for a preparation that would start, if the options refuse it."""
        options = self._state.options
        if options.prepare_refusal == "entitlement":
            message = f"account {account} is not entitled to prepare models"
            return ErrorResponse("PERMISSION_DENIED", message)
        if options.prepare_refusal == "none":
            return None
        in_use = self._state.deployments.gpus_in_use(account)
        return quota_exceeded(
            _PREPARATION_GPU_TYPE,
            account,
            in_use=in_use,
            quota=in_use if options.gpu_quota is None else options.gpu_quota,
            requesting=gpus,
            status=options.quota_status,
        )

    def _advanced(self, model: EmulatedModel) -> EmulatedModel:
        model.advance(self._state.clock())
        return model

    def _add_initial(self) -> None:
        state, account = self._state, self._state.options.accounts[0]
        times = {
            "createTime": rfc3339(state.started_at - 30 * _DAY),
            "updateTime": rfc3339(state.started_at - 29 * _DAY),
        }
        self.add(account, "my-model", displayName="My Model", **times)
        self.add(
            account,
            "my-other-model",
            displayName="My other model",
            baseModelDetails={"defaultPrecision": "BF16", "parameterCount": "70000000000", "worldSize": 4},
            **times,
        )
        self.add(
            account,
            "my-addon",
            displayName="My add-on",
            kind="HF_PEFT_ADDON",
            peftDetails={
                "baseModel": f"accounts/{account}/models/my-model",
                "baseModelType": "",
                "mergeAddonModelName": "",
                "r": 8,
                "targetModules": ["q_proj", "v_proj"],
            },
            **times,
        )
        self.add(account, "my-uploading-model", displayName="Still uploading", state="UPLOADING", **times)
        for model_id in state.options.extra_models:
            self.add(account, model_id, displayName=model_id, **times)
        self.add(PUBLIC_ACCOUNT, "yi-6b", displayName="Yi 6B", public=True, **times)


def _check_file(name: str, size: int) -> None:
    if size < 0:
        raise ErrorResponse("INVALID_ARGUMENT", f"filenameToSize: invalid size {size} of {name!r}")
    if not all(part not in ("", ".", "..") for part in name.split("/")):
        raise ErrorResponse("INVALID_ARGUMENT", f"filenameToSize: invalid file name {name!r}")

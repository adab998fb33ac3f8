"""All that the emulated API knows: models, deployments, its options, the faults ordered, what it was asked."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.client.names import check_id
from airflow_provider_fireworks.emulator.faults import Faults
from airflow_provider_fireworks.emulator.fleet import Fleet
from airflow_provider_fireworks.emulator.models import EmulatedModel, rfc3339
from airflow_provider_fireworks.emulator.options import PUBLIC_ACCOUNT, Options
from airflow_provider_fireworks.emulator.responses import (
    ErrorResponse,
    Response,
    envelope,
    not_found,
    unauthorized,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator.records import (
        AcceptedPreparation,
        CreatedDeployment,
        ReceivedRequest,
    )

_DAY = 86_400
# Enough for any test; an emulator that runs for weeks does not grow without end.
_REQUESTS_KEPT = 100_000


class State:
    """
    The emulated API without HTTP.

    Everything happens lazily: a model or a deployment is brought up to the present when it is looked at.
    ``lock`` is held by whoever reads or changes anything here.

    :param options: how it behaves, and what :meth:`reset` goes back to.
    :param clock: the time now in seconds since 1970; all times are taken from it.
    """

    def __init__(self, options: Options, clock: Callable[[], float] = time.time) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self._first_options = options
        self.reset()

    def reset(self) -> None:
        """Go back to the start: options, models, key; no deployments, nothing asked, no faults."""
        with self.lock:
            self.options = self._first_options
            self.key_revoked = False
            self.faults = Faults()
            self.born = self.clock()
            self._models: dict[tuple[str, str], EmulatedModel] = {}
            self.fleet = Fleet(self)
            self.clear()
            self._stock()

    def clear(self) -> None:
        """Forget what was asked; models and deployments stay as they are."""
        with self.lock:
            self.requests: deque[ReceivedRequest] = deque(maxlen=_REQUESTS_KEPT)
            self.preparations: list[AcceptedPreparation] = []
            self.creations: list[CreatedDeployment] = []
            self.counts: Counter[str] = Counter()
            self._answered: deque[float] = deque()

    def configure(self, /, **changes: Any) -> Options:
        """Change options; see :meth:`Options.changed`."""
        with self.lock:
            self.options = self.options.changed(**changes)
            return self.options

    def admit(self, authorization: str | None) -> Response | None:
        """
        Judge a request by its key and by the rate limit.

        :param authorization: the header of that name.
        :return: the refusal, ``None`` where the request may go on.
        """
        if self.key_revoked or authorization != f"Bearer {self.options.api_key}":
            return unauthorized(self.options.unauthorized_status)
        now = self.clock()
        while self._answered and self._answered[0] <= now - 60:
            self._answered.popleft()
        limit = self.options.requests_per_minute
        if limit is not None and len(self._answered) >= limit:
            refusal = envelope(429, f"rate limit of {limit} requests per minute exceeded")
            if self.options.retry_after is not None:
                refusal.headers["retry-after"] = self.options.retry_after
            return refusal
        self._answered.append(now)
        return None

    def accounts(self) -> list[str]:
        """Ids of the key's accounts, in the order in which the API lists them: by name."""
        return sorted(self.options.accounts)

    def account(self, account: str) -> dict[str, Any]:
        """Return an account of the key's as ``GET /v1/accounts/{account}`` sends it."""
        self.check_own(account)
        return {
            "accountType": "ACCOUNT_TYPE_UNSPECIFIED",
            "createTime": rfc3339(self.born - 60 * _DAY),
            "displayName": account,
            "email": f"owner@{account}.example",
            "name": f"accounts/{account}",
            "notificationSettings": None,
            "state": "READY",
            "status": {"code": "OK", "message": ""},
            "suspendState": "UNSUSPENDED",
            "updateTime": rfc3339(self.born - 60 * _DAY),
        }

    def check_own(self, account: str) -> None:
        """Refuse an account that is not the key's."""
        if account == PUBLIC_ACCOUNT:
            raise ErrorResponse(
                "PERMISSION_DENIED", f"no permission on accounts/{account} beyond reading public models"
            )
        if account not in self.options.accounts:
            raise not_found()

    def all_models(self) -> list[EmulatedModel]:
        """Every model there is, by account and name."""
        return [self._settled(model) for _, model in sorted(self._models.items())]

    def readable_models(self, account: str) -> list[EmulatedModel]:
        """The models of an account that the key may read, by name."""
        if account != PUBLIC_ACCOUNT:
            self.check_own(account)
        return [
            model
            for model in self.all_models()
            if model.account == account and (account != PUBLIC_ACCOUNT or model.is_public)
        ]

    def readable_model(self, account: str, model: str) -> EmulatedModel:
        """A model that the key may read: one of its own, or a public one."""
        if account != PUBLIC_ACCOUNT:
            self.check_own(account)
        found = self.find(account, model)
        if found is None or (account == PUBLIC_ACCOUNT and not found.is_public):
            raise not_found()
        return found

    def own_model(self, account: str, model: str) -> EmulatedModel:
        """A model that the key may change."""
        found = self.readable_model(account, model)
        self.check_own(account)
        return found

    def find(self, account: str, model: str) -> EmulatedModel | None:
        """A model, whoever's it is, brought up to the present."""
        found = self._models.get((account, model))
        return None if found is None else self._settled(found)

    def add(self, account: str, model: str, /, **fields: Any) -> EmulatedModel:
        """
        Add a model, past the API's rules.

        :param fields: as in :class:`EmulatedModel`.
        :raises ValueError: for what is no id, a field that no model has, or a model that is there already.
        """
        key = (check_id(account, "account id"), check_id(model, "model id"))
        if key in self._models:
            raise ValueError(f"accounts/{account}/models/{model} exists already")
        self._models[key] = EmulatedModel(account, model, self.clock(), **fields)
        return self._models[key]

    def create(self, account: str, model: str, fields: dict[str, Any]) -> EmulatedModel:
        """Create a model for the key, as ``POST …/models`` does."""
        self.check_own(account)
        if (account, model) in self._models:
            raise ErrorResponse("ALREADY_EXISTS", f"model accounts/{account}/models/{model} already exists")
        created = self.add(account, model, **fields)
        created.upload(self.clock(), self.options)
        return created

    def remove(self, account: str, model: str) -> bool:
        """Remove a model with all that was to happen to it; whether it was there."""
        return self._models.pop((account, model), None) is not None

    def prepare(self, account: str, model: str, precision: str) -> None:
        """Prepare a model for the key; see :meth:`EmulatedModel.prepare`."""
        asked = "refused"
        try:
            asked, preparation = self.own_model(account, model).prepare(precision, self.clock(), self.options)
        finally:
            self.counts[f"prepare {asked}"] += 1
        if preparation is not None:
            self.preparations.append(preparation)

    def _settled(self, model: EmulatedModel) -> EmulatedModel:
        model.settle(self.clock())
        return model

    def _stock(self) -> None:
        """Put in the models that are there from the start."""
        home = self.options.accounts[0]
        month_ago = {
            "createTime": rfc3339(self.born - 30 * _DAY),
            "updateTime": rfc3339(self.born - 29 * _DAY),
        }
        self.add(home, "my-model", displayName="My Model", **month_ago)
        self.add(
            home,
            "my-other-model",
            displayName="My other model",
            baseModelDetails={"defaultPrecision": "BF16", "parameterCount": "70000000000", "worldSize": 4},
            **month_ago,
        )
        self.add(
            home,
            "my-addon",
            displayName="My add-on",
            kind="HF_PEFT_ADDON",
            peftDetails={
                "baseModel": f"accounts/{home}/models/my-model",
                "baseModelType": "",
                "mergeAddonModelName": "",
                "r": 8,
                "targetModules": ["q_proj", "v_proj"],
            },
            **month_ago,
        )
        self.add(home, "my-uploading-model", displayName="Still on its way", state="UPLOADING", **month_ago)
        for model in self.options.extra_models:
            self.add(home, model, displayName=model, **month_ago)
        self.add(PUBLIC_ACCOUNT, "yi-6b", displayName="Yi 6B", public=True, **month_ago)

"""The state of the emulated API: options, API key, models, deployments, routers, pending faults, received requests."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.emulator.deployment_store import DeploymentStore
from airflow_provider_fireworks.emulator.faults import Faults
from airflow_provider_fireworks.emulator.model_store import ModelStore
from airflow_provider_fireworks.emulator.model_upload import UploadUrls
from airflow_provider_fireworks.emulator.options import PUBLIC_ACCOUNT, Options
from airflow_provider_fireworks.emulator.resource import OK_STATUS, rfc3339
from airflow_provider_fireworks.emulator.responses import (
    ErrorResponse,
    Response,
    envelope,
    not_found,
    unauthorized,
)
from airflow_provider_fireworks.emulator.router_store import RouterStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator.records import (
        AcceptedPreparation,
        CreatedDeployment,
        ReceivedRequest,
    )

_DAY = 86_400
# Bounds the memory of an emulator that runs for weeks.
_MAX_REQUESTS = 100_000


class State:
    """
    The emulated API without HTTP. Hold :attr:`lock` to read or change it.

    Nothing happens in the background: models, deployments and routers are brought up to date whenever they are read.

    :param options: the initial options, which :meth:`reset` restores.
    :param clock: returns seconds since the epoch.
    """

    def __init__(self, options: Options, clock: Callable[[], float] = time.time) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self._initial_options = options
        #: Base URL of the server for uploads.
        self.upload_url = ""
        self.reset()

    def reset(self) -> None:
        """Restore the initial state: options, key and models, without deployments, routers, records and faults."""
        with self.lock:
            self.options = self._initial_options
            self.key_revoked = False
            self.faults = Faults()
            self.started_at = self.clock()
            self.upload_urls = UploadUrls(self)
            self.models = ModelStore(self)
            self.deployments = DeploymentStore(self)
            self.routers = RouterStore(self)
            self.clear()

    def clear(self) -> None:
        """Delete the records of requests."""
        with self.lock:
            self.requests: deque[ReceivedRequest] = deque(maxlen=_MAX_REQUESTS)
            self.preparations: list[AcceptedPreparation] = []
            self.creations: list[CreatedDeployment] = []
            self.counts: Counter[str] = Counter()
            self._admitted_at: deque[float] = deque()

    def configure(self, /, **changes: Any) -> Options:
        """Change options; see :meth:`Options.changed`."""
        with self.lock:
            self.options = self.options.changed(**changes)
            return self.options

    def refuse(self, authorization: str | None) -> Response | None:
        """
        Check the API key and the rate limit.

        :param authorization: the ``Authorization`` header.
        :return: the response to a request that is refused.
        """
        if self.key_revoked or authorization != f"Bearer {self.options.api_key}":
            return unauthorized(self.options.unauthorized_status)
        now = self.clock()
        while self._admitted_at and self._admitted_at[0] <= now - 60:
            self._admitted_at.popleft()
        limit = self.options.requests_per_minute
        if limit is not None and len(self._admitted_at) >= limit:
            refusal = envelope(429, f"rate limit of {limit} requests per minute exceeded")
            if self.options.retry_after is not None:
                refusal.headers["retry-after"] = self.options.retry_after
            return refusal
        self._admitted_at.append(now)
        return None

    def account(self, account: str) -> dict[str, Any]:
        """Return an account as the API sends it."""
        self.check_own(account)
        created = rfc3339(self.started_at - 60 * _DAY)
        return {
            "accountType": "ACCOUNT_TYPE_UNSPECIFIED",
            "createTime": created,
            "displayName": account,
            "email": f"owner@{account}.example",
            "name": f"accounts/{account}",
            "notificationSettings": None,
            "state": "READY",
            "status": OK_STATUS,
            "suspendState": "UNSUSPENDED",
            "updateTime": created,
        }

    def check_own(self, account: str) -> None:
        """
        Check that the API key has access to an account.

        :raises ErrorResponse: if it has not.
        """
        if account == PUBLIC_ACCOUNT:
            raise ErrorResponse(
                "PERMISSION_DENIED", f"no permission on accounts/{account} other than to read public models"
            )
        if account not in self.options.accounts:
            raise not_found()

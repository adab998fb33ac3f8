"""The connection to the Fireworks gateway: for workers, and, shared by its triggers, for the triggerer."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook
from asgiref.sync import sync_to_async

from airflow_provider_fireworks.client import calls
from airflow_provider_fireworks.client.answers import without_locals
from airflow_provider_fireworks.client.endpoint import Endpoint, InvalidEndpointError
from airflow_provider_fireworks.client.errors import AccessDeniedError, GatewayError, one_line
from airflow_provider_fireworks.client.names import (
    DeploymentName,
    InvalidNameError,
    ModelName,
    check_id,
    parse_deployment,
    parse_model,
    split_deployment,
    split_model,
)
from airflow_provider_fireworks.client.precision import UnknownPrecisionError, check_precision
from airflow_provider_fireworks.client.triggerer import TriggererGateway
from airflow_provider_fireworks.client.worker import ATTEMPTS, WorkerGateway, make_session
from airflow_provider_fireworks.exceptions import FireworksBadConnection, FireworksInvalidArgument
from airflow_provider_fireworks.get_provider_info import get_provider_info

if TYPE_CHECKING:
    import requests
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_fireworks.client.shapes import Account, Deployment, DeploymentShapeVersion, Model

ResultT = TypeVar("ResultT")

CONNECTION_TTL = 60.0
"""Seconds for which the triggerer goes on with a connection before it reads it anew."""
TEST_TIMEOUT = 9.0
"""Seconds after which a connection test gives up."""


class FireworksHook(BaseHook):
    """
    Talk to the Fireworks gateway: login is the account id, password the API key, host the base URL.

    All methods raise :class:`~airflow_provider_fireworks.client.GatewayError` where the gateway does not do as
    asked, and :class:`~airflow_provider_fireworks.exceptions.FireworksBadConnection` where the connection is of
    no use. Calls that can do no harm twice are repeated up to three times over a blip.

    :param fireworks_conn_id: the Airflow connection; ``None`` takes ``FIREWORKS_API_KEY``,
        ``FIREWORKS_ACCOUNT_ID`` and ``FIREWORKS_BASE_URL`` from the environment instead.
    :param account_id: the account of ids that name none, instead of the connection's.
    """

    conn_name_attr = "fireworks_conn_id"
    default_conn_name = "fireworks_default"
    conn_type = "fireworks"
    hook_name = "Fireworks AI"

    def __init__(
        self, fireworks_conn_id: str | None = default_conn_name, *, account_id: str | None = None
    ) -> None:
        super().__init__()
        self.fireworks_conn_id = fireworks_conn_id
        self._asked_account = account_id or None

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form's labels to Airflow 3.0 and 3.1; later versions read them from the metadata."""
        behaviour = get_provider_info()["connection-types"][0]["ui-field-behaviour"]
        return {key.replace("-", "_"): value for key, value in behaviour.items()}

    @cached_property
    def endpoint(self) -> Endpoint:
        """The base URL and the key that the connection holds."""
        with without_locals():
            return self._read_endpoint()

    def _read_endpoint(self) -> Endpoint:
        if self.fireworks_conn_id is None:
            return _endpoint_of_environment()
        try:
            connection = self.get_connection(self.fireworks_conn_id)
        except AirflowNotFoundException as error:
            raise FireworksBadConnection(
                f"{error}. Create it, of the type Fireworks AI, where workers and the triggerer find it."
            ) from None
        return _endpoint_of(self.fireworks_conn_id, connection)

    @cached_property
    def _gateway(self) -> WorkerGateway:
        return WorkerGateway(self.endpoint, self.get_conn())

    def get_conn(self) -> requests.Session:
        """
        Return a session that carries the bearer token to the base URL, and follows no redirect.

        A time limit is each request's own: requests knows none for a session.
        """
        return make_session(self.endpoint)

    @property
    def has_answered(self) -> bool:
        """Whether the API has answered a request of this hook: with a success, or with one of its own errors."""
        return "_gateway" in vars(self) and self._gateway.has_answered

    @property
    def known_account(self) -> str | None:
        """The account of ids that name none, if it is known without a request: as asked for, or the connection's."""
        return self._asked_account or self.endpoint.account

    @cached_property
    def account_id(self) -> str:
        """
        The account of model ids that name none: as asked for, the connection's, or found out from the key.

        :raises FireworksBadConnection: if the key opens several accounts, or none, or one whose id is none.
        :raises FireworksInvalidArgument: if what was asked for is no account id.
        """
        if self._asked_account is not None:
            return _checked(self._asked_account)
        if self.endpoint.account is not None:
            return self.endpoint.account
        found = [each.account_id for each in self.list_accounts()]
        if len(found) == 1:
            try:
                return check_id(found[0], "account id")
            except InvalidNameError as error:
                raise FireworksBadConnection(
                    f"What the API key opens at the gateway is odd: {error}"
                ) from None
        which = f"several accounts ({', '.join(found)})" if found else "no account"
        raise FireworksBadConnection(
            f"{_named(self.fireworks_conn_id)} has an API key that opens {which}. "
            "Set the one to use: in the connection's login, as account_id, or as accounts/<account>/models/<model>."
        )

    def model_name(self, model: str) -> ModelName:
        """
        Return the full resource name of a model.

        :param model: ``my-model`` or ``accounts/my-account/models/my-model``.
        :raises FireworksInvalidArgument: if it is neither, or of another account than the one asked for.
        """
        try:
            named, _ = split_model(model)
            return parse_model(model, account=self._asked_account if named else self.account_id)
        except InvalidNameError as error:
            raise FireworksInvalidArgument(str(error)) from None

    def base_model_name(self, model: str) -> ModelName:
        """
        Return the full resource name of a model that is deployed, which may be of any account.

        :param model: ``my-model`` or ``accounts/any-account/models/any-model``.
        :raises FireworksInvalidArgument: if it is neither.
        """
        try:
            named, _ = split_model(model)
            return parse_model(model, account=named or self.account_id)
        except InvalidNameError as error:
            raise FireworksInvalidArgument(str(error)) from None

    def deployment_name(self, deployment: str) -> DeploymentName:
        """
        Return the full resource name of a deployment.

        :param deployment: ``my-deployment`` or ``accounts/my-account/deployments/my-deployment``.
        :raises FireworksInvalidArgument: if it is neither, or of another account than the one asked for.
        """
        try:
            named, _ = split_deployment(deployment)
            return parse_deployment(deployment, account=self._asked_account if named else self.account_id)
        except InvalidNameError as error:
            raise FireworksInvalidArgument(str(error)) from None

    def send(self, call: calls.Call[ResultT], *, attempts: int = ATTEMPTS) -> ResultT:
        """
        Make any call of ``gateway.calls``.

        :param attempts: how often at most, over blips and where it can do no harm.
        """
        return self._gateway.send(call, attempts=attempts)

    def hurried(self, *, timeout: float) -> WorkerGateway:
        """
        Return a gateway to the same endpoint that waits for no answer for long.

        :param timeout: seconds to connect, and seconds for the answer.
        """
        return WorkerGateway(
            self.endpoint, self.get_conn(), timeout=(timeout, timeout), answer_timeout=timeout
        )

    def get_model(self, model: str) -> Model:
        """
        Read a model: ``GET /v1/accounts/{account}/models/{model}``.

        :param model: id or full resource name.
        """
        return self.send(calls.get_model(self.model_name(model)))

    def list_models(self, *, account_id: str | None = None, filter: str = "") -> list[Model]:
        """
        Read all models of an account: ``GET /v1/accounts/{account}/models``, all pages.

        :param account_id: another account than the connection's; public models live in ``fireworks``.
        :param filter: an AIP-160 filter, passed on as it is.
        """
        account = _checked(account_id) if account_id else self.account_id
        return self._gateway.run(calls.list_models(account, filter=filter))

    def list_accounts(self) -> list[Account]:
        """Read the accounts that the key opens: ``GET /v1/accounts``, all pages."""
        return self._gateway.run(calls.list_accounts())

    def prepare_model(self, model: str, precision: str, *, allow_unknown_precision: bool = False) -> None:
        """
        Ask for a preparation: ``POST /v1/accounts/{account}/models/{model}:prepare``. Does not wait for it.

        Repeated only where the gateway cannot have acted: no connection, or 429.

        :param model: id or full resource name.
        :param precision: as the gateway spells it (``"FP8"``).
        :param allow_unknown_precision: pass a precision that is newer than this package.
        :raises FireworksInvalidArgument: for a precision or a model that is none; nothing was sent.
        """
        try:
            wanted = check_precision(precision, allow_unknown=allow_unknown_precision)
        except UnknownPrecisionError as error:
            raise FireworksInvalidArgument(str(error)) from None
        self.send(calls.prepare_model(self.model_name(model), wanted))

    def create_deployment(
        self, deployment_id: str, spec: Mapping[str, Any], *, validate_only: bool = False
    ) -> Deployment:
        """
        Create a deployment: ``POST /v1/accounts/{account}/deployments``. Does not wait for it, and **it costs money**.

        Repeated only where the gateway cannot have acted: no connection, or 429 for too many requests.

        :param deployment_id: the id that it gets.
        :param spec: its fields, as the gateway spells them (``baseModel``, ``acceleratorType``, ``precision``,
            ``minReplicaCount``, …).
        :param validate_only: create nothing, and return what would be created.
        :raises FireworksInvalidArgument: for an id that is none; nothing was sent.
        """
        name = self.deployment_name(deployment_id)
        return self.send(calls.create_deployment(name, spec, validate_only=validate_only))

    def get_deployment(self, deployment: str) -> Deployment:
        """
        Read a deployment: ``GET /v1/accounts/{account}/deployments/{deployment}``.

        :param deployment: id or full resource name.
        """
        return self.send(calls.get_deployment(self.deployment_name(deployment)))

    def list_deployments(
        self, *, account_id: str | None = None, filter: str = "", show_deleted: bool = False
    ) -> list[Deployment]:
        """
        Read all deployments of an account: ``GET /v1/accounts/{account}/deployments``, all pages.

        :param account_id: another account than the connection's.
        :param filter: an AIP-160 filter, passed on as it is.
        :param show_deleted: those too that are softly deleted.
        """
        account = _checked(account_id) if account_id else self.account_id
        return self._gateway.run(calls.list_deployments(account, filter=filter, show_deleted=show_deleted))

    def listed_name(self, listed: Deployment) -> str:
        """
        Return the full resource name of a deployment that was listed, to ask something else about it.

        :raises GatewayError: if it is none, or one of another account: a gateway does not choose the path of a call.
        """
        try:
            return str(parse_deployment(listed.name, account=self.account_id))
        except InvalidNameError as error:
            raise GatewayError(f"the list has what does not belong there: {error}") from None

    def update_deployment(self, deployment: str, **fields: Any) -> Deployment:
        """
        Change some fields: ``PATCH /v1/accounts/{account}/deployments/{deployment}`` with a mask of just these.

        :param deployment: id or full resource name.
        :param fields: as the gateway spells them (``displayName``).
        """
        name = self.deployment_name(deployment)
        base_model = self.get_deployment(deployment).base_model or ""
        return self.send(calls.update_deployment(name, fields, base_model=base_model))

    def scale_deployment(self, deployment: str, replica_count: int) -> None:
        """
        Scale: ``PATCH /v1/accounts/{account}/deployments/{deployment}:scale``. Does not wait for it.

        :param deployment: id or full resource name.
        :param replica_count: replicas, 0 or more.
        """
        self.send(calls.scale_deployment(self.deployment_name(deployment), replica_count))

    def delete_deployment(self, deployment: str, *, hard: bool = False, ignore_checks: bool = False) -> None:
        """
        Delete a deployment: ``DELETE /v1/accounts/{account}/deployments/{deployment}``.

        :param deployment: id or full resource name.
        :param hard: for good. Otherwise its id stays taken for some days, and it can be undeleted.
        :param ignore_checks: also where it has served lately, which the gateway refuses otherwise.
        """
        name = self.deployment_name(deployment)
        self.send(calls.delete_deployment(name, hard=hard, ignore_checks=ignore_checks))

    def undelete_deployment(self, deployment: str) -> Deployment:
        """
        Bring a softly deleted deployment back: ``POST /v1/accounts/{account}/deployments/{deployment}:undelete``.

        :param deployment: id or full resource name.
        """
        return self.send(calls.undelete_deployment(self.deployment_name(deployment)))

    def match_deployment_shapes(self, model: str) -> list[DeploymentShapeVersion]:
        """
        Read the shapes that a model can be deployed in: ``POST …/deploymentShapeVersions:match``.

        :param model: id or full resource name.
        """
        return self.send(calls.match_deployment_shapes(self.account_id, self.base_model_name(model)))

    def test_connection(self) -> tuple[bool, str]:
        """Say which account the key opens, within ten seconds. Airflow's "Test" button calls it."""
        outcome: list[tuple[bool, str]] = []
        # A thread, since no time limit of a request bounds a slow name server.
        thread = threading.Thread(target=lambda: outcome.append(self._test()), daemon=True)
        thread.start()
        thread.join(TEST_TIMEOUT)
        return outcome[0] if outcome else (False, f"No answer within {TEST_TIMEOUT:.0f} s.")

    def _test(self) -> tuple[bool, str]:
        try:
            gateway = WorkerGateway(self.endpoint, self.get_conn(), timeout=(3.0, 5.0), answer_timeout=5.0)
            page = gateway.send(next(calls.list_accounts()), attempts=1)
        except (GatewayError, FireworksBadConnection) as error:
            return False, str(error)
        except Exception as error:
            return False, f"{type(error).__name__}: {self.endpoint.hide_key(str(error))}"
        found = [account.account_id for account in page.items]
        accounts = one_line(", ".join(found)) or "no account"
        told = f"The key opens {accounts} at {self.endpoint.base_url}."
        wanted = self._asked_account or self.endpoint.account
        if wanted is None:
            if len(found) == 1:
                try:
                    check_id(found[0], "account id")
                except InvalidNameError as error:
                    return False, f"{told} {error}"
                return True, told
            return False, f"{told} Set the Account ID to use."
        if wanted in found or page.next_page_token:
            return True, told
        return False, f"{told} The connection's Account ID, {wanted}, is not among them."


class _SharedGateway:
    """
    One connection's gateway on one event loop, shared by all triggers there.

    The connection is read anew now and then, and at once when the key is refused, so that a key which was
    replaced ends no wait.
    """

    def __init__(self, conn_id: str | None) -> None:
        self._conn_id = conn_id
        self._lock = asyncio.Lock()
        self._gateway: TriggererGateway | None = None
        self._retired: list[TriggererGateway] = []
        self._read_at = 0.0
        self.users = 0

    async def send(self, call: calls.Call[ResultT]) -> ResultT:
        """Make a call once; with the new key, if the one at hand is refused and has been replaced."""
        gateway = await self._current(CONNECTION_TTL)
        try:
            return await gateway.send(call)
        except AccessDeniedError:
            renewed = await self._current(0.0)
            if renewed.endpoint == gateway.endpoint:
                raise
            return await renewed.send(call)

    async def close(self) -> None:
        """Close all clients."""
        for gateway in [*self._retired, *([self._gateway] if self._gateway else [])]:
            await gateway.close()

    async def _current(self, ttl: float) -> TriggererGateway:
        async with self._lock:
            if self._gateway is not None and time.monotonic() - self._read_at < ttl:
                return self._gateway
            try:
                # Airflow 3.0 and 3.1 can ask the supervisor from no other threads than asgiref's. Cancelled in it,
                # asgiref would forget why, and Airflow then call no on_kill.
                reading = asyncio.ensure_future(
                    sync_to_async(lambda: FireworksHook(self._conn_id).endpoint)()
                )
                with without_locals():
                    endpoint = await asyncio.shield(reading)
            except Exception:
                # A backend of secrets that is away for a moment ends no wait that has a key already.
                if self._gateway is None:
                    raise
                endpoint = self._gateway.endpoint
            self._read_at = time.monotonic()
            if self._gateway is None or self._gateway.endpoint != endpoint:
                if self._gateway is not None:
                    # Others may be in the middle of a call on it: closed with the last user.
                    self._retired.append(self._gateway)
                self._gateway = TriggererGateway(endpoint)
            return self._gateway


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str | None, _SharedGateway]] = WeakKeyDictionary()


@asynccontextmanager
async def triggerer_gateway(conn_id: str | None) -> AsyncIterator[_SharedGateway]:
    """
    Enter the one door through which the triggers of an event loop read over a connection.

    :param conn_id: the Airflow connection, ``None`` for the environment's.
    """
    doors = _shared.setdefault(asyncio.get_running_loop(), {})
    gateway = doors.setdefault(conn_id, _SharedGateway(conn_id))
    gateway.users += 1
    try:
        yield gateway
    finally:
        gateway.users -= 1
        if not gateway.users:
            del doors[conn_id]
            await gateway.close()


def _checked(account_id: str) -> str:
    try:
        return check_id(account_id, "account id")
    except InvalidNameError as error:
        raise FireworksInvalidArgument(str(error)) from None


def _endpoint_of(conn_id: str, connection: Connection) -> Endpoint:
    try:
        return Endpoint.make(
            host=connection.host,
            api_key=connection.password,
            account=connection.login,
            schema=connection.schema,
            port=connection.port,
        )
    except InvalidEndpointError as error:
        raise FireworksBadConnection(
            f"{_named(conn_id)} cannot be used: {error}. Its password is the API key, its login the Account "
            "ID, its host the Base URL."
        ) from None


def _endpoint_of_environment() -> Endpoint:
    key = os.environ.get("FIREWORKS_API_KEY")
    if key:
        _mask(key)
    try:
        return Endpoint.make(
            host=os.environ.get("FIREWORKS_BASE_URL"),
            api_key=key,
            account=os.environ.get("FIREWORKS_ACCOUNT_ID"),
        )
    except InvalidEndpointError as error:
        raise FireworksBadConnection(
            f"{_named(None)} cannot be used: {error}. On workers and the triggerer, set FIREWORKS_API_KEY and, "
            "where they are needed, FIREWORKS_ACCOUNT_ID and FIREWORKS_BASE_URL; or name an Airflow connection."
        ) from None


def _named(conn_id: str | None) -> str:
    return "The environment's connection" if conn_id is None else f"Connection {conn_id!r}"


def _mask(key: str) -> None:
    try:
        from airflow.sdk.log import mask_secret
    except ImportError:
        # Airflow 3.0 has it here; mypy, which sees one version only, takes it for a second definition.
        from airflow.sdk.execution_time.secrets_masker import mask_secret  # type: ignore[no-redef]

    mask_secret(key)

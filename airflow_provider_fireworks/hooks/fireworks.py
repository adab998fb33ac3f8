"""The hook: reads the Airflow connection and sends requests with its API key."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook
from asgiref.sync import sync_to_async

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.config import ClientConfig, InvalidConfigError
from airflow_provider_fireworks.client.errors import ApiError, NoResponseError, RefusedError
from airflow_provider_fireworks.client.names import (
    DeploymentName,
    InvalidNameError,
    ModelName,
    ResourceName,
    RouterName,
    check_id,
)
from airflow_provider_fireworks.client.precision import UnknownPrecisionError, check_precision
from airflow_provider_fireworks.client.responses import clear_locals
from airflow_provider_fireworks.client.shared_client import SharedClient, shared_client
from airflow_provider_fireworks.client.sync_client import ATTEMPTS, SyncClient, make_session
from airflow_provider_fireworks.client.text import one_line
from airflow_provider_fireworks.exceptions import FireworksBadConnection, FireworksInvalidArgument
from airflow_provider_fireworks.get_provider_info import get_provider_info
from airflow_provider_fireworks.timing import DEFAULT_TIMING, Timing

if TYPE_CHECKING:
    import requests
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_fireworks.client.files import SourceFile
    from airflow_provider_fireworks.client.progress import Progress
    from airflow_provider_fireworks.client.resources import (
        Account,
        Deployment,
        DeploymentShapeVersion,
        Model,
        Quota,
        Router,
    )

ResultT = TypeVar("ResultT")
NameT = TypeVar("NameT", bound=ResourceName)


class FireworksHook(BaseHook):
    """
    Send requests to the Fireworks API with the API key of an Airflow connection.

    The connection's login is the account ID, its password the API key, its host the base URL. No method waits for a
    preparation, a deployment or a router. Over transient errors, requests that can be sent again without harm are sent
    up to three times.

    Every method that sends a request raises:

    - :class:`~airflow_provider_fireworks.client.ApiError` if the request fails,
    - :class:`~airflow_provider_fireworks.exceptions.FireworksBadConnection` if the connection cannot be used,
    - :class:`~airflow_provider_fireworks.exceptions.FireworksInvalidArgument`, before anything is sent, if a name is
      invalid.

    Example::

        hook = FireworksHook()
        model = hook.get_model("my-model")
        hook.prepare_model("my-model", "FP8")

    :param fireworks_conn_id: the Airflow connection; ``None`` reads ``FIREWORKS_API_KEY``, ``FIREWORKS_ACCOUNT_ID`` and
        ``FIREWORKS_BASE_URL`` from the environment instead.
    :param account_id: the account of bare ids, instead of the connection's.
    """

    conn_name_attr = "fireworks_conn_id"
    default_conn_name = "fireworks_default"
    conn_type = "fireworks"
    hook_name = "Fireworks AI"
    timing: ClassVar[Timing] = DEFAULT_TIMING

    def __init__(
        self, fireworks_conn_id: str | None = default_conn_name, *, account_id: str | None = None
    ) -> None:
        super().__init__()
        self.fireworks_conn_id = fireworks_conn_id
        self._given_account = account_id or None

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form's labels to Airflow 3.0 and 3.1; later versions read them from the provider's metadata."""
        behaviour = get_provider_info()["connection-types"][0]["ui-field-behaviour"]
        return {key.replace("-", "_"): value for key, value in behaviour.items()}

    @cached_property
    def config(self) -> ClientConfig:
        """
        The base URL, the API key and the account of the connection.

        :raises FireworksBadConnection: if the connection does not exist, or cannot be used.
        """
        with clear_locals():
            return self._read_config()

    @cached_property
    def _client(self) -> SyncClient:
        return SyncClient(self.config, self.get_conn())

    def get_conn(self) -> requests.Session:
        """
        Return a session that sends the API key to the base URL only, and follows no redirect.

        Give each request a ``timeout``, since a session of requests has no default. Example::

            url = hook.config.url("inference/v1/chat/completions")
            hook.get_conn().post(url, json={...}, timeout=60)
        """
        return make_session(self.config)

    def quick_client(self, *, timeout: float) -> SyncClient:
        """
        Return a client with short timeouts, for a process that will be killed soon.

        :param timeout: seconds to connect, and seconds for a response.
        :raises FireworksBadConnection: if the connection cannot be used.
        """
        return self._client_with(connect_timeout=timeout, response_timeout=timeout)

    def _client_with(self, *, connect_timeout: float, response_timeout: float) -> SyncClient:
        timing = replace(
            self.timing,
            connect_timeout=connect_timeout,
            read_timeout=response_timeout,
            response_timeout=response_timeout,
        )
        return SyncClient(replace(self.config, timing=timing), self.get_conn())

    @classmethod
    def shared_async_client(cls, fireworks_conn_id: str | None) -> AbstractAsyncContextManager[SharedClient]:
        """
        Use the client that all triggers on this event loop share for a connection.

        :param fireworks_conn_id: the Airflow connection, ``None`` for the environment's.
        """

        async def read_config() -> ClientConfig:
            # On Airflow 3.0 and 3.1, only asgiref's thread can send requests to the supervisor. Shielded, because
            # asgiref loses the message of a cancellation, and Airflow would then not call on_kill.
            reading = asyncio.ensure_future(sync_to_async(lambda: cls(fireworks_conn_id).config)())
            return await asyncio.shield(reading)

        return shared_client(fireworks_conn_id, read_config)

    @property
    def has_responded(self) -> bool:
        """Whether the API has responded to this hook: with a success, or with one of its own errors."""
        # Does not create the client, which would read the connection.
        return "_client" in vars(self) and self._client.has_responded

    @property
    def known_account(self) -> str | None:
        """The account of bare ids, ``None`` if it has to be looked up from the key."""
        return self._given_account or self.config.account

    @cached_property
    def account_id(self) -> str:
        """
        The account of bare ids: as given, the connection's, or looked up from the key (``GET /v1/accounts``).

        :raises ApiError: if the lookup fails.
        :raises FireworksBadConnection: if the key has access to no account or to several.
        :raises FireworksInvalidArgument: if the given account is invalid.
        """
        if self._given_account is not None:
            return _check_account(self._given_account)
        if self.config.account is not None:
            return self.config.account
        found = [each.account_id for each in self.list_accounts()]
        if len(found) == 1:
            try:
                return check_id(found[0], "account id")
            except InvalidNameError:
                raise FireworksBadConnection(
                    f"The account returned for this API key has an invalid id: {_shown(found[0])}."
                ) from None
        which = f"several accounts ({one_line(', '.join(found))})" if found else "no account"
        raise FireworksBadConnection(
            f"{_named(self.fireworks_conn_id)} has an API key with access to {which}. "
            "Set the one to use: in the connection's login, as account_id, or as accounts/<account>/models/<model>."
        )

    def model_name(self, model: str | ModelName) -> ModelName:
        """
        Return the full resource name of a model.

        :param model: ``my-model`` or ``accounts/my-account/models/my-model``.
        :raises FireworksInvalidArgument: if it is invalid, or does not belong to the account given to the hook.
        """
        return self._full_name(ModelName, model)

    def base_model_name(self, model: str | ModelName) -> ModelName:
        """
        Return the full resource name of a model to deploy, which may belong to any account.

        :param model: ``my-model`` or ``accounts/any-account/models/any-model``.
        :raises FireworksInvalidArgument: if it is invalid.
        """
        return self._full_name(ModelName, model, any_account=True)

    def deployment_name(self, deployment: str | DeploymentName) -> DeploymentName:
        """
        Return the full resource name of a deployment.

        :param deployment: ``my-deployment`` or ``accounts/my-account/deployments/my-deployment``.
        :raises FireworksInvalidArgument: if it is invalid, or does not belong to the account given to the hook.
        """
        return self._full_name(DeploymentName, deployment)

    def router_name(self, router: str | RouterName) -> RouterName:
        """
        Return the full resource name of a router.

        :param router: ``my-router`` or ``accounts/my-account/routers/my-router``.
        :raises FireworksInvalidArgument: if it is invalid, or does not belong to the account given to the hook.
        """
        return self._full_name(RouterName, router)

    def _full_name(self, kind: type[NameT], name: str | NameT, *, any_account: bool = False) -> NameT:
        if isinstance(name, kind):
            return name
        try:
            # An invalid id raises here, before its account is looked up.
            if kind.account_in(name) is None:
                return kind.parse(name, account=self.account_id)
            return kind.parse(name, account=None if any_account else self._given_account)
        except InvalidNameError as error:
            raise FireworksInvalidArgument(str(error)) from None

    def send(self, request: api.Request[ResultT], *, attempts: int = ATTEMPTS) -> ResultT:
        """
        Send a request of :mod:`airflow_provider_fireworks.client.api`.

        :param attempts: the most times to send it, over transient errors and if that can do no harm.
        """
        return self._client.send(request, attempts=attempts)

    def get_model(self, model: str | ModelName) -> Model:
        """
        Read a model: ``GET /v1/accounts/{account}/models/{model}``.

        :param model: id or full resource name.
        """
        return self.send(api.get_model(self.model_name(model)))

    def list_models(self, *, account_id: str | None = None, filter: str = "") -> list[Model]:
        """
        Read all models of an account: ``GET /v1/accounts/{account}/models``, all pages.

        :param account_id: another account than the connection's; public models are in ``fireworks``.
        :param filter: an AIP-160 filter, sent unchanged.
        """
        account = _check_account(account_id) if account_id else self.account_id
        return self._client.send_all(api.list_models(account, filter=filter))

    def list_accounts(self) -> list[Account]:
        """Read the accounts that the key has access to: ``GET /v1/accounts``, all pages."""
        return self._client.send_all(api.list_accounts())

    def delete_model(self, model: str | ModelName) -> None:
        """
        Delete a model: ``DELETE /v1/accounts/{account}/models/{model}``.

        For up to a minute after its last deployment was deleted, the API still refuses because of active deployments.
        While it says so, the request is repeated, for two minutes at most.

        :param model: id or full resource name.
        :raises RefusedError: if a deployment of it exists.
        """
        name = self.model_name(model)
        deadline = time.monotonic() + self.timing.model_release_timeout
        while True:
            try:
                return self.send(api.delete_model(name))
            except RefusedError as error:
                if "active deployment" not in error.message.lower() or time.monotonic() > deadline:
                    raise
                self.log.info("%s. Repeating the request until they are gone.", error)
            time.sleep(self.timing.max_pause)

    def create_model(self, model: str | ModelName, spec: Mapping[str, Any]) -> Model:
        """
        Create a model without files: ``POST /v1/accounts/{account}/models``. :meth:`upload_files` adds them.

        The request is sent again only if the API cannot have carried it out: no connection, or 429.

        :param model: the id of the new model, which does not begin with a digit, or its full resource name.
        :param spec: its fields, as the API spells them (``kind``, ``baseModelDetails`` or ``peftDetails``).
        """
        return self.send(api.create_model(self.model_name(model), spec))

    def upload_files(
        self,
        model: str | ModelName,
        files: Sequence[SourceFile],
        *,
        max_parallel: int = 4,
        timeout: float = 21600,
        check: Callable[[Progress], object] = lambda progress: None,
    ) -> None:
        """
        Upload all files of a model: ``POST …/models/{model}:getUploadEndpoint``, then ``PUT`` to each signed URL.

        The signed URLs are another host's, which gets no API key. A ``PUT`` that fails is repeated until the time is
        over, and URLs that expire are requested again. Logs the progress every ten seconds.

        :param model: id or full resource name.
        :param files: from :func:`~airflow_provider_fireworks.storage.list_files`.
        :param max_parallel: files to upload at the same time.
        :param timeout: seconds for all of them.
        :param check: called about twice a second. What it raises stops the upload.
        :raises SourceError: if a file cannot be read, or has changed since it was listed.
        """
        # Not at the top, as most tasks upload nothing.
        from airflow_provider_fireworks.client.uploads import Uploader

        name = self.model_name(model)
        request = api.get_upload_endpoint(name, {file.name: file.size for file in files})
        uploader = Uploader(
            files,
            lambda: self.send(request),
            max_parallel=max_parallel,
            log=lambda line: self.log.info("%s: %s", name.id, line),
            timing=self.timing,
        )
        deadline = time.monotonic() + timeout

        def check_time(progress: Progress) -> None:
            check(progress)
            if time.monotonic() >= deadline:
                raise NoResponseError(f"{name} is not uploaded after {timeout:.0f} s: {progress.last_error}")

        uploader.run(check_time)

    def validate_upload(
        self,
        model: str | ModelName,
        *,
        trust_remote_code: bool = False,
        skip_hf_config_validation: bool = False,
        config_only: bool = False,
    ) -> list[str]:
        """
        Validate an uploaded model: ``GET /v1/accounts/{account}/models/{model}:validateUpload``.

        **Only once all files are uploaded.** The model then becomes READY.

        :param model: id or full resource name.
        :param trust_remote_code: trust the checkpoint's own code.
        :param skip_hf_config_validation: do not validate the Hugging Face configuration.
        :param config_only: validate neither the tokenizer nor the names of parameters.
        :return: warnings.
        :raises RefusedError: with ``FAILED_PRECONDITION`` while the API has not all files yet, or if they are invalid.
        """
        request = api.validate_upload(
            self.model_name(model),
            trust_remote_code=trust_remote_code,
            skip_hf_config_validation=skip_hf_config_validation,
            config_only=config_only,
        )
        return self.send(request)

    def prepare_model(
        self,
        model: str | ModelName,
        precision: str,
        *,
        accelerator_count: int | None = None,
        allow_unknown_precision: bool = False,
    ) -> None:
        """
        Request a preparation: ``POST /v1/accounts/{account}/models/{model}:prepare``. Does not wait for it.

        The request is sent again only if the API cannot have carried it out: no connection, or 429.

        :param model: id or full resource name.
        :param precision: as the API spells it (``"FP8"``).
        :param accelerator_count: GPUs to prepare it with; without it, the API chooses (8, as far as is known). Older
            versions of the API refuse the request with this field.
        :param allow_unknown_precision: accept a precision that is newer than this package.
        :raises FireworksInvalidArgument: if the precision or the model is invalid.
        """
        try:
            checked = check_precision(precision, allow_unknown=allow_unknown_precision)
        except UnknownPrecisionError as error:
            raise FireworksInvalidArgument(str(error)) from None
        name = self.model_name(model)
        self.send(api.prepare_model(name, checked, accelerator_count=accelerator_count))

    def abort_preparation(self, model: str | ModelName, precision: str | None = None) -> None:
        """
        Stop a model's preparation: ``POST /v1/accounts/{account}/models/{model}:prepare`` with ``abort``.

        **This stops the one active preparation of the model, whoever requested it and for whatever precision.** No task
        of this provider does this by itself. What the model shows afterwards is not known: a wait for it may end as
        failed, or, on an API that lists no precisions, as ready although it is not. Older versions of the API refuse
        the request.

        :param model: id or full resource name.
        :param precision: sent only if it is given; the API is not known to need it.
        """
        self.send(api.abort_preparation(self.model_name(model), precision))

    def create_deployment(
        self,
        deployment_id: str | DeploymentName,
        spec: Mapping[str, Any],
        *,
        validate_only: bool = False,
        accept_shapeless_risk: bool = False,
    ) -> Deployment:
        """
        Create a deployment: ``POST /v1/accounts/{account}/deployments``. Does not wait for it.

        **A deployment costs money.** The request is sent again only if the API cannot have carried it out: no
        connection, or 429 for too many requests.

        :param deployment_id: the id of the new deployment.
        :param spec: its fields, as the API spells them (``baseModel``, ``acceleratorType``, ``precision``,
            ``minReplicaCount``, …).
        :param validate_only: create nothing, and return what would be created.
        :param accept_shapeless_risk: create it without a shape, where the API asks for this consent.
        """
        request = api.create_deployment(
            self.deployment_name(deployment_id),
            spec,
            validate_only=validate_only,
            accept_shapeless_risk=accept_shapeless_risk,
        )
        return self.send(request)

    def get_deployment(self, deployment: str | DeploymentName) -> Deployment:
        """
        Read a deployment: ``GET /v1/accounts/{account}/deployments/{deployment}``.

        :param deployment: id or full resource name.
        """
        return self.send(api.get_deployment(self.deployment_name(deployment)))

    def list_deployments(
        self, *, account_id: str | None = None, filter: str = "", show_deleted: bool = False
    ) -> list[Deployment]:
        """
        Read all deployments of an account: ``GET /v1/accounts/{account}/deployments``, all pages.

        :param account_id: another account than the connection's.
        :param filter: an AIP-160 filter, sent unchanged.
        :param show_deleted: include deployments that are deleted softly.
        """
        account = _check_account(account_id) if account_id else self.account_id
        return self._client.send_all(api.list_deployments(account, filter=filter, show_deleted=show_deleted))

    def listed_name(self, listed: Deployment) -> DeploymentName:
        """
        Return the full resource name of a listed deployment, for further requests.

        :raises ApiError: if it is invalid or belongs to another account than :attr:`account_id`. A response must not
            choose which deployment is deleted.
        """
        try:
            return DeploymentName.parse(listed.name, account=self.account_id)
        except InvalidNameError as error:
            raise ApiError(f"the list has an invalid entry: {error}") from None

    def update_deployment(self, deployment: str | DeploymentName, **fields: Any) -> Deployment:
        """
        Update some fields of a deployment: ``PATCH /v1/accounts/{account}/deployments/{deployment}``.

        :param deployment: id or full resource name.
        :param fields: as the API spells them (``displayName``).
        """
        name = self.deployment_name(deployment)
        base_model = self.get_deployment(name).base_model or ""
        return self.send(api.update_deployment(name, fields, base_model=base_model))

    def scale_deployment(self, deployment: str | DeploymentName, replica_count: int) -> None:
        """
        Scale a deployment: ``PATCH /v1/accounts/{account}/deployments/{deployment}:scale``. Does not wait for it.

        :param deployment: id or full resource name.
        :param replica_count: replicas, 0 or more.
        """
        self.send(api.scale_deployment(self.deployment_name(deployment), replica_count))

    def delete_deployment(
        self, deployment: str | DeploymentName, *, hard: bool = False, ignore_checks: bool = False
    ) -> None:
        """
        Delete a deployment: ``DELETE /v1/accounts/{account}/deployments/{deployment}``.

        :param deployment: id or full resource name.
        :param hard: delete for good. Otherwise the id stays taken for some days, and the deployment can be undeleted.
        :param ignore_checks: delete it even if it has served recently, which the API refuses otherwise.
        """
        name = self.deployment_name(deployment)
        self.send(api.delete_deployment(name, hard=hard, ignore_checks=ignore_checks))

    def undelete_deployment(self, deployment: str | DeploymentName) -> Deployment:
        """
        Undelete a softly deleted deployment: ``POST /v1/accounts/{account}/deployments/{deployment}:undelete``.

        :param deployment: id or full resource name.
        """
        return self.send(api.undelete_deployment(self.deployment_name(deployment)))

    def termination_message(self, deployment: str | DeploymentName) -> str:
        """
        Read why a deployment ended: ``GET /v1/accounts/{account}/deployments/{deployment}/terminationMessage``.

        :param deployment: id or full resource name.
        :return: the API's words, empty if it has none.
        """
        return self.send(api.get_termination_message(self.deployment_name(deployment)))

    def match_deployment_shapes(self, model: str | ModelName) -> list[DeploymentShapeVersion]:
        """
        Read the shapes in which a model can be deployed:
        ``POST /v1/accounts/{account}/deploymentShapeVersions:match``.

        :param model: id or full resource name, of any account.
        """
        return self.send(api.match_deployment_shapes(self.account_id, self.base_model_name(model)))

    def create_router(self, router_id: str | RouterName, spec: Mapping[str, Any]) -> Router:
        """
        Create a router: ``POST /v1/accounts/{account}/routers``. Does not wait for it.

        :param router_id: the id of the new router.
        :param spec: its fields, as the API spells them (``deployments``, ``weightedRandom`` or ``evenLoad``,
            ``displayName``).
        """
        return self.send(api.create_router(self.router_name(router_id), spec))

    def get_router(self, router: str | RouterName) -> Router:
        """
        Read a router: ``GET /v1/accounts/{account}/routers/{router}``.

        :param router: id or full resource name.
        """
        return self.send(api.get_router(self.router_name(router)))

    def list_routers(self, *, account_id: str | None = None, filter: str = "") -> list[Router]:
        """
        Read all routers of an account: ``GET /v1/accounts/{account}/routers``, all pages.

        :param account_id: another account than the connection's.
        :param filter: an AIP-160 filter, sent unchanged.
        """
        account = _check_account(account_id) if account_id else self.account_id
        return self._client.send_all(api.list_routers(account, filter=filter))

    def update_router(self, router: str | RouterName, **fields: Any) -> Router:
        """
        Update some fields of a router: ``PATCH /v1/accounts/{account}/routers/{router}``. Does not wait for it.

        :param router: id or full resource name.
        :param fields: as the API spells them (``deployments``).
        """
        return self.send(api.update_router(self.router_name(router), fields))

    def delete_router(self, router: str | RouterName) -> None:
        """
        Delete a router: ``DELETE /v1/accounts/{account}/routers/{router}``. Its deployments stay as they are.

        :param router: id or full resource name.
        """
        self.send(api.delete_router(self.router_name(router)))

    def list_quotas(self) -> list[Quota]:
        """Read the account's quotas, such as GPUs of each type: ``GET /v1/accounts/{account}/quotas``, all pages."""
        return self._client.send_all(api.list_quotas(self.account_id))

    def test_connection(self) -> tuple[bool, str]:
        """
        Report which account the API key has access to. Airflow's "Test" button calls this method.

        Takes at most ten seconds, and raises nothing.

        :return: whether the connection can be used, and a line to show.
        """
        outcome: list[tuple[bool, str]] = []
        # In a thread, because no timeout of a request limits a slow name server.
        thread = threading.Thread(target=lambda: outcome.append(self._test()), daemon=True)
        thread.start()
        limit = self.timing.connection_test_timeout
        thread.join(limit)
        return outcome[0] if outcome else (False, f"No response within {limit:g} s.")

    def _test(self) -> tuple[bool, str]:
        try:
            client = self._client_with(
                connect_timeout=self.timing.connection_test_connect_timeout,
                response_timeout=self.timing.connection_test_response_timeout,
            )
            page = client.send(next(api.list_accounts()), attempts=1)
        except (ApiError, FireworksBadConnection) as error:
            return False, str(error)
        except Exception as error:
            return False, f"{type(error).__name__}: {self.config.hide_key(str(error))}"
        found = [account.account_id for account in page.items]
        accounts = one_line(", ".join(found)) or "no account"
        summary = f"The API key has access to {accounts} at {self.config.base_url}."
        wanted = self.known_account
        if wanted is None:
            if len(found) == 1:
                try:
                    check_id(found[0], "account id")
                except InvalidNameError:
                    return False, f"{summary} That is not a valid account id."
                return True, summary
            return False, f"{summary} Set the Account ID to use."
        if wanted in found or page.next_page_token:
            return True, summary
        return False, f"{summary} The connection's Account ID, {wanted}, is not among them."

    def _read_config(self) -> ClientConfig:
        if self.fireworks_conn_id is None:
            return self._config_from_environment()
        try:
            connection = self.get_connection(self.fireworks_conn_id)
        except AirflowNotFoundException as error:
            raise FireworksBadConnection(
                f"{error}. Create it, with the type Fireworks AI, where workers and the triggerer find it. If it is "
                f"set in AIRFLOW_CONN_{self.fireworks_conn_id.upper()}, check that the value is valid JSON."
            ) from None
        return self._config_from_connection(connection)

    def _config_from_connection(self, connection: Connection) -> ClientConfig:
        try:
            return ClientConfig.make(
                host=connection.host,
                api_key=connection.password,
                account=connection.login,
                schema=connection.schema,
                port=connection.port,
                timing=self.timing,
                requests_per_minute=_extra(connection).get("requests_per_minute"),
            )
        except InvalidConfigError as error:
            raise FireworksBadConnection(
                f"{_named(self.fireworks_conn_id)} cannot be used: {error}. Its password is the API key, its login the "
                "Account ID, its host the Base URL."
            ) from None

    def _config_from_environment(self) -> ClientConfig:
        key = os.environ.get("FIREWORKS_API_KEY")
        if key:
            _mask(key)
        try:
            return ClientConfig.make(
                host=os.environ.get("FIREWORKS_BASE_URL"),
                api_key=key,
                account=os.environ.get("FIREWORKS_ACCOUNT_ID"),
                timing=self.timing,
            )
        except InvalidConfigError as error:
            raise FireworksBadConnection(
                f"{_named(None)} cannot be used: {error}. On workers and the triggerer, set FIREWORKS_API_KEY and, if "
                "needed, FIREWORKS_ACCOUNT_ID and FIREWORKS_BASE_URL; or name an Airflow connection."
            ) from None


def _extra(connection: Connection) -> dict[str, Any]:
    # Not extra_dejson, which sends another request to Airflow's supervisor to mask what is not secret.
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        return {}
    return extra if isinstance(extra, dict) else {}


def _check_account(account_id: str) -> str:
    try:
        return check_id(account_id, "account id")
    except InvalidNameError as error:
        raise FireworksInvalidArgument(str(error)) from None


def _shown(account_id: str) -> str:
    return one_line(repr(account_id), limit=200)


def _named(conn_id: str | None) -> str:
    return "The environment's connection" if conn_id is None else f"Connection {conn_id!r}"


def _mask(key: str) -> None:
    try:
        from airflow.sdk.log import mask_secret
    except ImportError:
        # Airflow 3.0 has it here. mypy sees one version only, and takes this for a redefinition.
        from airflow.sdk.execution_time.secrets_masker import mask_secret  # type: ignore[no-redef]

    mask_secret(key)

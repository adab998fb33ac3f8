"""The emulator, as Python code uses it."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.emulator.faults import Fault, FaultKind
from airflow_provider_fireworks.emulator.http_server import ApiHandler, HttpServer
from airflow_provider_fireworks.emulator.options import Options
from airflow_provider_fireworks.emulator.state import State
from airflow_provider_fireworks.emulator.upload_server import UploadHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from airflow_provider_fireworks.emulator.emulated_deployment import EmulatedDeployment
    from airflow_provider_fireworks.emulator.emulated_model import EmulatedModel
    from airflow_provider_fireworks.emulator.emulated_router import EmulatedRouter
    from airflow_provider_fireworks.emulator.http_server import RequestHandler
    from airflow_provider_fireworks.emulator.records import (
        AcceptedPreparation,
        CreatedDeployment,
        ReceivedFile,
        ReceivedRequest,
    )


class Emulator:
    """
    The Fireworks API on this machine, over real HTTP.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`. All methods are thread-safe::

        with Emulator(duration=0.5, precision_lists="absent") as emulator:
            print(emulator.connection)  # for AIRFLOW_CONN_FIREWORKS_DEFAULT

    :param options: the initial options.
    :param host: a loopback address.
    :param port: 0 for any free port.
    :param log: called in a thread of the server with each request to the API when it ends.
    :param fields: fields of :class:`Options`, overriding those of ``options``.
    :raises ValueError: for a host that is not a loopback address, or invalid options.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        log: Callable[[ReceivedRequest], None] | None = None,
        **fields: Any,
    ) -> None:
        self._host = _check_loopback(host)
        self._port = port
        self._log = log
        self._state = State((options or Options()).changed(**fields))
        self._upload_port = 0
        self._servers: list[HttpServer] = []

    def __enter__(self) -> Emulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """
        Start the server, and another one at any free port for uploads to signed URLs. Return once they accept
        requests. After :meth:`stop` they use the same ports again.

        :raises OSError: if the port is in use.
        """
        if not self._servers:
            try:
                self._port = self._serve(self._port, ApiHandler)
                self._upload_port = self._serve(self._upload_port, UploadHandler)
            except OSError:
                self.stop()
                raise
            self._state.upload_url = self._url(self._upload_port)

    def stop(self) -> None:
        """
        Stop both servers and close all connections at once. Models, deployments, routers and records are kept.
        """
        while self._servers:
            self._servers.pop().stop()

    @property
    def url(self) -> str:
        """The base URL, ``http://127.0.0.1:<port>``."""
        return self._url(self._port)

    @property
    def upload_url(self) -> str:
        """What all signed URLs begin with. Another port than that of :attr:`url`."""
        return self._url(self._upload_port)

    @property
    def api_key(self) -> str:
        """The accepted API key. Setting it ends :meth:`revoke_key`."""
        return self.options.api_key

    @api_key.setter
    def api_key(self, value: str) -> None:
        with self._state.lock:
            self._state.configure(api_key=value)
            self._state.key_revoked = False

    def revoke_key(self) -> None:
        """Refuse every API key until :attr:`api_key` is set or :meth:`reset` is called."""
        with self._state.lock:
            self._state.key_revoked = True

    @property
    def account_id(self) -> str:
        """The account with the initial models."""
        return self.options.accounts[0]

    @property
    def connection(self) -> str:
        """The Airflow connection to it as JSON, for ``AIRFLOW_CONN_FIREWORKS_DEFAULT``."""
        parts = {"login": self.account_id, "password": self.api_key, "host": self.url}
        return json.dumps({"conn_type": "fireworks", **parts})

    @property
    def options(self) -> Options:
        """The current options."""
        with self._state.lock:
            return self._state.options

    def configure(self, **changes: Any) -> Options:
        """
        Change options, and return all of them.

        :raises pydantic.ValidationError: for an unknown option or an invalid value; nothing is changed then.
        """
        return self._state.configure(**changes)

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The requests to the API since the start or the last :meth:`clear`, oldest first."""
        with self._state.lock:
            return list(self._state.requests)

    @property
    def preparations(self) -> list[AcceptedPreparation]:
        """The accepted preparations since then, oldest first."""
        with self._state.lock:
            return list(self._state.preparations)

    @property
    def creations(self) -> list[CreatedDeployment]:
        """The created deployments since then, oldest first."""
        with self._state.lock:
            return list(self._state.creations)

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of requests and results since then: ``{"GET model": 12, "prepare accepted": 1}``."""
        with self._state.lock:
            return dict(sorted(self._state.counts.items()))

    def count(self, method: str | None = None, path: str = "") -> int:
        """
        Return the number of recorded requests.

        :param method: only those with this method.
        :param path: only those with this text in their path.
        """
        return sum(method in (None, request.method) and path in request.path for request in self.requests)

    def clear(self) -> None:
        """Delete all records of requests. Models, deployments and their cost are kept."""
        self._state.clear()

    def reset(self) -> None:
        """Restore the initial options, key and models, without deployments, records and faults."""
        self._state.reset()

    def fault(self, kind: FaultKind, **fields: Any) -> None:
        """
        Make the next request that it applies to fail; see :class:`Fault`.

        :param fields: further fields of :class:`Fault`.
        """
        with self._state.lock:
            self._state.faults.add(Fault(kind=kind, **fields))

    def clear_faults(self) -> None:
        """Delete the pending faults."""
        with self._state.lock:
            self._state.faults.clear()

    @property
    def models(self) -> list[dict[str, Any]]:
        """The models of all accounts, as the API would send them."""
        with self._state.lock:
            return [model.payload(self._state.options) for model in self._state.models.all()]

    def is_prepared(self, model: str, precision: str, *, account: str | None = None) -> bool:
        """
        Whether a model can be deployed at a precision, even if the API does not show that.

        :param account: the first account by default.
        :raises LookupError: if the model does not exist.
        """
        with self._state.lock:
            return self._model(model, account).is_prepared_for(precision)

    def model(self, model: str, *, account: str | None = None) -> dict[str, Any]:
        """
        Return a model as the API would send it.

        :param account: the first account by default.
        :raises LookupError: if it does not exist.
        """
        with self._state.lock:
            return self._model(model, account).payload(self._state.options)

    def add_model(self, model: str, *, account: str | None = None, **fields: Any) -> dict[str, Any]:
        """
        Add a model, and return it as the API would send it.

        :param fields: fields as the API sends them, with any value. The default is a READY base model at FP16.
        :raises ValueError: for an invalid id, an unknown field, or a model that exists.
        """
        with self._state.lock:
            added = self._state.models.add(account or self.account_id, model, **fields)
            return added.payload(self._state.options)

    def set_model(self, model: str, *, account: str | None = None, **fields: Any) -> dict[str, Any]:
        """
        Set fields of a model to any value, and return it as the API would send it.

        Setting ``state`` cancels running preparations, so that the state stays. ``updateTime`` changes only if
        it is among the fields.

        :raises LookupError: if it does not exist.
        :raises ValueError: for an unknown field.
        """
        with self._state.lock:
            found = self._model(model, account)
            found.force(fields)
            return found.payload(self._state.options)

    def delete_model(self, model: str, *, account: str | None = None) -> None:
        """
        Delete a model.

        :raises LookupError: if it does not exist.
        """
        with self._state.lock:
            found = self._model(model, account)
            self._state.models.remove(found.account, found.id)

    def uploads(self, model: str, *, account: str | None = None) -> list[ReceivedFile]:
        """
        Return the files of a model that were sent, completely or not, in the order of their first bytes.

        :param account: the first account by default.
        :raises LookupError: if the model does not exist.
        """
        with self._state.lock:
            return [replace(file) for file in self._model(model, account).upload.received]

    def expire_upload_urls(self) -> None:
        """Let all signed URLs expire that exist now."""
        with self._state.lock:
            self._state.upload_urls.expire()

    @property
    def deployments(self) -> list[dict[str, Any]]:
        """The deployments of all accounts, including DELETED ones, as the API would send them."""
        with self._state.lock:
            return [deployment.payload() for deployment in self._state.deployments.all()]

    @property
    def deployments_left(self) -> list[str]:
        """The full names of all deployments that are not DELETED."""
        with self._state.lock:
            return self._state.deployments.left()

    @property
    def gpu_seconds(self) -> float:
        """The cost of all deployments since the start or the last :meth:`reset`: GPUs times seconds."""
        with self._state.lock:
            return self._state.deployments.gpu_seconds

    def deployment(self, deployment: str, *, account: str | None = None) -> dict[str, Any]:
        """
        Return a deployment as the API would send it, even if it is DELETED or cannot be read yet.

        :param account: the first account by default.
        :raises LookupError: if it does not exist.
        """
        with self._state.lock:
            return self._deployment(deployment, account).payload()

    def set_deployment(self, deployment: str, *, account: str | None = None, **fields: Any) -> dict[str, Any]:
        """
        Set fields of a deployment to any value, and return it as the API would send it.

        A forced ``state`` stays until the deployment is scaled, deleted or undeleted. ``updateTime`` changes
        only if it is among the fields.

        :raises LookupError: if it does not exist.
        :raises ValueError: for an unknown field.
        """
        with self._state.lock:
            found = self._deployment(deployment, account)
            found.force(fields, self._state.clock())
            return found.payload()

    def remove_deployment(self, deployment: str, *, account: str | None = None) -> None:
        """
        Remove a deployment without a trace, not even as DELETED. Its cost is kept.

        :raises LookupError: if it does not exist.
        """
        with self._state.lock:
            found = self._deployment(deployment, account)
            self._state.deployments.remove(found.account, found.id)

    @property
    def routers(self) -> list[dict[str, Any]]:
        """The routers of all accounts, as the API would send them."""
        with self._state.lock:
            return [router.payload() for router in self._state.routers.all()]

    def router(self, router: str, *, account: str | None = None) -> dict[str, Any]:
        """
        Return a router as the API would send it.

        :param account: the first account by default.
        :raises LookupError: if it does not exist.
        """
        with self._state.lock:
            return self._router(router, account).payload()

    def set_router(self, router: str, *, account: str | None = None, **fields: Any) -> dict[str, Any]:
        """
        Set fields of a router to any value, such as ``autoGenerated``, and return it as the API would send it.

        A forced ``state`` stays until the router is updated or deleted.

        :raises LookupError: if it does not exist.
        :raises ValueError: for an unknown field.
        """
        with self._state.lock:
            found = self._router(router, account)
            found.force(fields)
            return found.payload()

    def _serve(self, port: int, handler: type[RequestHandler]) -> int:
        """Start a server, and return its port."""
        server = HttpServer(self._host, port, self._state, self._log, handler)
        self._servers.append(server)
        return int(server.server_address[1])

    def _url(self, port: int) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{port}"

    def _model(self, model: str, account: str | None) -> EmulatedModel:
        found = self._state.models.find(account or self.account_id, model)
        if found is None:
            raise LookupError(f"no model {model!r} in account {account or self.account_id!r}")
        return found

    def _deployment(self, deployment: str, account: str | None) -> EmulatedDeployment:
        found = self._state.deployments.find(account or self.account_id, deployment)
        if found is None:
            raise LookupError(f"no deployment {deployment!r} in account {account or self.account_id!r}")
        return found

    def _router(self, router: str, account: str | None) -> EmulatedRouter:
        found = self._state.routers.find(account or self.account_id, router)
        if found is None:
            raise LookupError(f"no router {router!r} in account {account or self.account_id!r}")
        return found


def _check_loopback(host: str) -> str:
    """
    Return a loopback address unchanged.

    :raises ValueError: for any other address: the emulator has no protection against other machines.
    """
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ValueError(f"{host!r} is not a loopback address: use 127.0.0.1, ::1 or localhost")
    return host

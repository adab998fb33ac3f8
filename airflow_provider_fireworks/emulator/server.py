"""The emulated API as a server in a thread of this process."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import socket
import threading
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_fireworks.emulator.faults import Fault, Kind
from airflow_provider_fireworks.emulator.options import Options
from airflow_provider_fireworks.emulator.state import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from airflow_provider_fireworks.emulator.deployments import EmulatedDeployment
    from airflow_provider_fireworks.emulator.records import (
        AcceptedPreparation,
        CreatedDeployment,
        ReceivedRequest,
    )

_SECONDS_TO_START = 30


class Emulator:
    """
    The Fireworks API on this machine, at a real port, in a thread of its own.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`. It may be used from any thread.

    :param options: how the API behaves. Instead, or to change some of them, pass its fields by name:
        ``Emulator(duration=0.5, precision_lists="absent")``.
    :param host: the loopback address to listen at; no other is taken.
    :param port: the port to listen at, 0 for any free one.
    :param log: called with every request to the API once it is answered, or never will be. It is called
        in the server's thread.
    :param fields: fields of :class:`Options`.
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
        self._host = check_loopback(host)
        self._port = port
        self._log = log
        self._state = State((options or Options()).changed(**fields))
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def __enter__(self) -> Emulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """
        Listen, and return once requests are answered. Started again, it listens at the same port as before.

        :raises OSError: if the port is taken.
        """
        if self._thread is not None:
            return
        listener = _listen(self._host, self._port)
        self._port = listener.getsockname()[1]
        ready = threading.Event()
        failures: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._serve(listener, ready))
            except BaseException as error:
                failures.append(error)
            finally:
                listener.close()
                ready.set()

        self._thread = threading.Thread(target=run, name="fireworks-emulator", daemon=True)
        self._thread.start()
        if not ready.wait(_SECONDS_TO_START):
            raise TimeoutError(f"the emulator did not start within {_SECONDS_TO_START} s")
        if failures:
            self._thread = None
            raise RuntimeError("the emulator could not start") from failures[0]

    def stop(self) -> None:
        """Stop listening and cut every connection, answered or not. What the API knows stays."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._thread = None

    @property
    def url(self) -> str:
        """The base URL, ``http://127.0.0.1:<port>``."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def api_key(self) -> str:
        """The API key that is accepted."""
        return self.options.api_key

    @api_key.setter
    def api_key(self, value: str) -> None:
        with self._state.lock:
            self._state.configure(api_key=value)
            self._state.key_revoked = False

    @property
    def account_id(self) -> str:
        """The account that the models are in, the first one of :attr:`Options.accounts`."""
        return self.options.accounts[0]

    @property
    def connection(self) -> str:
        """The Airflow connection to it, as JSON for ``AIRFLOW_CONN_FIREWORKS_DEFAULT``."""
        parts = {"login": self.account_id, "password": self.api_key, "host": self.url}
        return json.dumps({"conn_type": "fireworks", **parts})

    @property
    def options(self) -> Options:
        """The options in force."""
        with self._state.lock:
            return self._state.options

    @property
    def requests(self) -> list[ReceivedRequest]:
        """Every request to the API since the start or the last :meth:`clear`, oldest first."""
        with self._state.lock:
            return list(self._state.requests)

    @property
    def preparations(self) -> list[AcceptedPreparation]:
        """Every preparation that was accepted since then, oldest first."""
        with self._state.lock:
            return list(self._state.preparations)

    @property
    def creations(self) -> list[CreatedDeployment]:
        """Every create of a deployment that was accepted since then, oldest first."""
        with self._state.lock:
            return list(self._state.creations)

    @property
    def models(self) -> list[dict[str, Any]]:
        """Every model of every account, public ones too, as it would be sent now."""
        with self._state.lock:
            return [model.payload(self._state.options) for model in self._state.all_models()]

    @property
    def deployments(self) -> list[dict[str, Any]]:
        """Every deployment of every account, deleted ones too, as it would be sent now."""
        with self._state.lock:
            return [deployment.payload() for deployment in self._state.fleet.all()]

    @property
    def deployments_left(self) -> list[str]:
        """The full names of the deployments that nobody deleted, or that are only DELETING yet."""
        with self._state.lock:
            return self._state.fleet.left()

    @property
    def gpu_seconds(self) -> float:
        """What all deployments since the start or the last :meth:`reset` cost: GPUs times seconds."""
        with self._state.lock:
            return self._state.fleet.gpu_seconds

    @property
    def counts(self) -> dict[str, int]:
        """How often what was asked: ``{"GET model": 12, "POST prepare": 1, "prepare accepted": 1}``."""
        with self._state.lock:
            return dict(sorted(self._state.counts.items()))

    def count(self, method: str | None = None, path: str = "") -> int:
        """
        Return how many requests there were.

        :param method: count those of this method only.
        :param path: count those only that have this in their path.
        """
        return sum(method in (None, request.method) and path in request.path for request in self.requests)

    def configure(self, **changes: Any) -> Options:
        """
        Change options while running, and return those in force then.

        :raises pydantic.ValidationError: for what is no option, or no value of it. Nothing is changed then.
        """
        return self._state.configure(**changes)

    def fault(self, kind: Kind, **fields: Any) -> None:
        """
        Order a fault; it waits for the next request that it fits.

        :param kind: see :class:`Fault`.
        :param fields: further fields of :class:`Fault`.
        """
        with self._state.lock:
            self._state.faults.add(Fault(kind=kind, **fields))

    def clear_faults(self) -> None:
        """Forget the faults that have not happened yet."""
        with self._state.lock:
            self._state.faults.clear()

    def add_model(self, model: str, *, account: str | None = None, **fields: Any) -> dict[str, Any]:
        """
        Add a model, a READY base model at FP16 unless the fields say otherwise, and return it as it is sent.

        :param model: its id.
        :param account: the account's id; the first one by default.
        :param fields: fields as the API sends them, with any value.
        """
        with self._state.lock:
            added = self._state.add(account or self.account_id, model, **fields)
            return added.payload(self._state.options)

    def set_model(self, model: str, *, account: str | None = None, **fields: Any) -> dict[str, Any]:
        """
        Force fields of a model to any value, past all rules, and return it as it is sent.

        With ``state`` among them, what is being prepared is forgotten, so that the state stays as it was set.
        ``updateTime`` stays unless it is given.

        :raises LookupError: if there is no such model.
        :raises ValueError: for a field that no model has.
        """
        with self._state.lock:
            found = self._state.find(account or self.account_id, model)
            if found is None:
                raise LookupError(f"no model {model!r} in account {account or self.account_id!r}")
            found.force(fields)
            return found.payload(self._state.options)

    def delete_model(self, model: str, *, account: str | None = None) -> None:
        """
        Remove a model.

        :raises LookupError: if there is no such model.
        """
        with self._state.lock:
            if not self._state.remove(account or self.account_id, model):
                raise LookupError(f"no model {model!r} in account {account or self.account_id!r}")

    def model(self, model: str, *, account: str | None = None) -> dict[str, Any]:
        """
        Return a model as it would be sent now.

        :raises LookupError: if there is no such model.
        """
        with self._state.lock:
            found = self._state.find(account or self.account_id, model)
            if found is None:
                raise LookupError(f"no model {model!r} in account {account or self.account_id!r}")
            return found.payload(self._state.options)

    def deployment(self, deployment: str, *, account: str | None = None) -> dict[str, Any]:
        """
        Return a deployment as it would be sent now, also one that is deleted or that cannot be read yet.

        :raises LookupError: if there is no such deployment.
        """
        with self._state.lock:
            return self._deployment(deployment, account).payload()

    def set_deployment(self, deployment: str, *, account: str | None = None, **fields: Any) -> dict[str, Any]:
        """
        Force fields of a deployment to any value, past all rules, and return it as it is sent.

        A forced ``state`` stays until the deployment is scaled, deleted or undeleted. ``updateTime`` stays
        unless it is given.

        :raises LookupError: if there is no such deployment.
        :raises ValueError: for a field that no deployment has.
        """
        with self._state.lock:
            found = self._deployment(deployment, account)
            found.force(fields, self._state.clock())
            return found.payload()

    def remove_deployment(self, deployment: str, *, account: str | None = None) -> None:
        """
        Let a deployment vanish without a trace, and without a request. What it cost stays counted.

        :raises LookupError: if there is no such deployment.
        """
        with self._state.lock:
            found = self._deployment(deployment, account)
            self._state.fleet.remove(found.account, found.deployment)

    def _deployment(self, deployment: str, account: str | None) -> EmulatedDeployment:
        found = self._state.fleet.find(account or self.account_id, deployment)
        if found is None:
            raise LookupError(f"no deployment {deployment!r} in account {account or self.account_id!r}")
        return found

    def revoke_key(self) -> None:
        """Accept no key any more, until :attr:`api_key` is set or all is reset."""
        with self._state.lock:
            self._state.key_revoked = True

    def clear(self) -> None:
        """
        Forget the recorded requests, counts, preparations and creations.

        Models, deployments and what these cost stay as they are.
        """
        self._state.clear()

    def reset(self) -> None:
        """Go back to the start: options, models and key as given; no deployments, nothing recorded, no faults."""
        self._state.reset()

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        # Here, not at the top: what only wants Options or Fault should not have to load a server.
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol

        from airflow_provider_fireworks.emulator.app import App

        connections: dict[tuple[str, int], asyncio.Transport] = {}
        all_cut = asyncio.Event()

        class Protocol(H11Protocol):
            """HTTP as uvicorn speaks it; it only takes note of the connections, to be able to cut them."""

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                stream = cast("asyncio.Transport", transport)
                self._noted = _peer(stream)
                connections[self._noted] = stream
                super().connection_made(stream)
                if stopping.is_set():
                    stream.abort()

            def connection_lost(self, exc: Exception | None) -> None:
                connections.pop(self._noted, None)
                if not connections:
                    all_cut.set()
                super().connection_lost(exc)

        def hangup(peer: tuple[str, int]) -> None:
            connections[peer].close()

        async def started() -> None:
            ready.set()

        stopping = asyncio.Event()
        self._loop, self._stopping = asyncio.get_running_loop(), stopping
        app = App(self._state, hangup, self._log)
        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            headers=[("server", "fireworks-emulator")],
            # Longer than any client keeps a connection, so that the server is not the one to close it.
            timeout_keep_alive=120,
            # Called first when everything is up, and then every so often.
            callback_notify=started,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        asked = asyncio.create_task(stopping.wait())
        await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
            return
        # uvicorn's own shutdown is a polite one: it waits for answers, and takes tenths of a second at best.
        for listening in server.servers:
            listening.close()
        all_cut.clear()
        for transport in list(connections.values()):
            transport.abort()
        if connections:
            await all_cut.wait()
        await app.finished()
        serving.cancel()


def check_loopback(host: str) -> str:
    """
    Return a host unchanged if it is this machine's loopback.

    :raises ValueError: for any other: the emulator has no protection against anyone.
    """
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ValueError(
            f"the emulator only listens at a loopback address (127.0.0.1, ::1, localhost), not at {host!r}"
        )
    return host


def _listen(host: str, port: int) -> socket.socket:
    # Bound before the server's thread starts: a taken port is then the caller's exception.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns off Nagle's algorithm, which costs 40 ms per answer otherwise.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def _peer(transport: asyncio.BaseTransport) -> tuple[str, int]:
    host, port = transport.get_extra_info("peername")[:2]
    return str(host), int(port)

"""The routers of the emulated API, and which deployment a request with a router's name goes to."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.client.names import DeploymentName, InvalidNameError, RouterName, check_id
from airflow_provider_fireworks.emulator.deployment_store import random_id
from airflow_provider_fireworks.emulator.emulated_router import BLANK, STRATEGIES, EmulatedRouter
from airflow_provider_fireworks.emulator.responses import ErrorResponse, not_found
from airflow_provider_fireworks.emulator.schema import RouterBody, camel

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.emulated_deployment import EmulatedDeployment
    from airflow_provider_fireworks.emulator.state import State


class RouterStore:
    """All routers."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._routers: dict[tuple[str, str], EmulatedRouter] = {}
        # The same choices in every test.
        self._random = random.Random(0)

    def all(self) -> list[EmulatedRouter]:
        """Return the routers of all accounts, by name."""
        now = self._state.clock()
        for key, router in list(self._routers.items()):
            router.advance(now)
            if router.gone:
                del self._routers[key]
        return [router for _, router in sorted(self._routers.items())]

    def find(self, account: str, router_id: str) -> EmulatedRouter | None:
        """Return a router of any account."""
        self.all()
        return self._routers.get((account, router_id))

    def visible(self, account: str) -> list[EmulatedRouter]:
        """Return the routers of an account that the key can read, by name."""
        self._state.check_own(account)
        return [router for router in self.all() if router.account == account]

    def own(self, account: str, router_id: str) -> EmulatedRouter:
        """Return a router that the key can read."""
        self._state.check_own(account)
        found = self.find(account, router_id)
        if found is None:
            raise not_found()
        return found

    def routes_to(self, deployment: str) -> str | None:
        """Return the name of a router that routes to a deployment, ``None`` if there is none."""
        return next((router.name for router in self.all() if deployment in router.deployments), None)

    def create(self, account: str, router_id: str | None, fields: dict[str, Any]) -> EmulatedRouter:
        """
        Respond to ``POST …/routers``.

        :param router_id: random if it is ``None``.
        :param fields: the fields of the request.
        """
        self._state.check_own(account)
        router_id = check_id(router_id or random_id(), "router id")
        if self.find(account, router_id) is not None:
            raise ErrorResponse(
                "ALREADY_EXISTS", f"router accounts/{account}/routers/{router_id} already exists"
            )
        self._check(account, fields.get("deployments", []))
        created = EmulatedRouter(account, router_id, self._state.clock(), self._state.options, **fields)
        self._routers[account, router_id] = created
        return created

    def edit(self, account: str, router_id: str, body: dict[str, Any], mask: str) -> EmulatedRouter:
        """
        Respond to ``PATCH …/routers/{router}``.

        :param body: the fields of the request.
        :param mask: names of the fields to change; empty or ``*`` for all that can be changed.
        """
        found = self.own(account, router_id)
        names = {camel(name.strip()) for name in mask.split(",") if name.strip()}
        if not names or "*" in names:
            names = set(RouterBody.model_fields)
        for name in sorted(names - RouterBody.model_fields.keys()):
            raise ErrorResponse("INVALID_ARGUMENT", f"updateMask: unknown or unchangeable field {name!r}")
        fields = {name: body.get(name, BLANK[name]) for name in names}
        if "deployments" in names:
            self._check(account, fields["deployments"])
        found.edit(self._state.clock(), self._state.options, fields)
        return found

    def delete(self, account: str, router_id: str) -> None:
        """Respond to ``DELETE …/routers/{router}``."""
        self.own(account, router_id).delete(self._state.clock(), self._state.options)

    def resolve(self, model: str) -> str:
        """
        Return the ``model`` of an inference request with a router's name replaced by the deployment that it goes to.

        :param model: returned unchanged unless it is a router's name.
        :return: ``""`` if the router does not exist, does not serve, or routes to deployments that do not exist.
        """
        try:
            name = RouterName.parse(model)
        except InvalidNameError:
            return model
        router = self.find(name.account, name.id)
        if router is None or name.account not in self._state.options.accounts:
            return ""
        targets = [self._deployment(each) for each in router.active_deployments]
        replicas = {each.name: each.ready_replicas for each in targets if each is not None}
        by_name = {each.name: each for each in targets if each is not None}
        if not by_name:
            return ""
        if not any(replicas.values()):
            # All are scaled to zero: the request wakes one.
            replicas = dict.fromkeys(replicas, 1)
        if router.is_weighted:
            [chosen] = self._random.choices(list(replicas), list(replicas.values()))
        else:
            serving = [each for each, count in replicas.items() if count]
            chosen = min(serving, key=lambda each: router.served[each] / replicas[each])
        router.served[chosen] += 1
        # As inference accepts it.
        alone = self._state.options.inference_names == "deployment"
        return chosen if alone else f"{by_name[chosen].base_model}#{chosen}"

    def _deployment(self, name: str) -> EmulatedDeployment | None:
        parsed = DeploymentName.parse(name)
        return self._state.deployments.find(parsed.account, parsed.id)

    def _check(self, account: str, deployments: list[str]) -> None:
        """
        Check the deployments of a request.

        :raises ErrorResponse: if there are none, or one does not exist or cannot be routed to.
        """
        if not deployments:
            raise ErrorResponse("INVALID_ARGUMENT", "deployments: required")
        for name in deployments:
            try:
                DeploymentName.parse(name, account=account)
            except InvalidNameError as error:
                raise ErrorResponse("INVALID_ARGUMENT", f"deployments: {error}") from error
            found = self._deployment(name)
            if found is None or found.state == "DELETED":
                raise ErrorResponse("NOT_FOUND", f"deployment {name} not found")
            if found.is_single_region and self._state.options.router_regions == "multi":
                message = f"deployment {name} is in a single region: routers need multi-region deployments"
                raise ErrorResponse("FAILED_PRECONDITION", message)


def check_strategy(fields: dict[str, Any]) -> None:
    """
    Check that a request has one strategy at most.

    :raises ErrorResponse: if it has both.
    """
    if all(fields.get(name) is not None for name in STRATEGIES):
        raise ErrorResponse("INVALID_ARGUMENT", f"only one of {' and '.join(STRATEGIES)} can be set")

"""
The requests with ``validateOnly``, which should create nothing.

Because an API that ignores ``validateOnly`` would create a deployment, which costs money, nothing more is sent after
the first accepted request until it is certain that it created none.
"""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_fireworks.check.results import EmulatorOption, Result
from airflow_provider_fireworks.check.subject import Subject
from airflow_provider_fireworks.client.errors import ApiError, NotFoundError, RefusedError
from airflow_provider_fireworks.client.names import DeploymentName
from airflow_provider_fireworks.client.text import sentence
from airflow_provider_fireworks.deployments.removal import MONEY, remove
from airflow_provider_fireworks.links import FireworksDeploymentLink
from airflow_provider_fireworks.operators.deployment.run_removal import run_removal

log = logging.getLogger(__name__)


def check_validate_only(name: str, subject: Subject) -> Result:
    """
    Validate deployments of the model, and delete what that creates.

    :raises KeyboardInterrupt: with a warning if a deployment may be left.
    """
    if subject.model is None or subject.account is None:
        return Result(name, None, "not run: the model was not read")
    validation = Validation(subject, subject.account)
    try:
        validation.send_all()
    except DeploymentCreatedError as created:
        validation.problem = str(created)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(validation.clean_up()) from None
    return validation.result(name)


class DeploymentCreatedError(Exception):
    """A request with ``validateOnly`` created a deployment, or may have created one."""


@dataclass
class Attempt:
    """
    One request with ``validateOnly``.

    :ivar deployment: the name that it was sent with.
    :ivar what: what is to be deployed, for a person.
    :ivar precision: its precision, empty for the model's own.
    :ivar has_shape: whether it is to be deployed with a shape.
    :ivar error: why it failed, ``None`` if it was accepted.
    """

    deployment: DeploymentName
    what: str
    precision: str
    has_shape: bool
    error: ApiError | None = None

    @property
    def may_have_created(self) -> bool:
        """Whether the request was not refused."""
        return self.error is None or self.error.outcome_unknown

    def __str__(self) -> str:
        if self.error is None:
            return f"{self.what}: accepted"
        said = str(self.error).removeprefix(f"{self.error.request}: ")
        return f"{self.what}: {'failed' if self.error.is_transient else 'refused'}: {said}"


@dataclass
class Validation:
    """
    Sends the requests one after the other.

    :ivar account: the account to deploy in.
    :ivar shapeless: what the API does without a shape, as the emulator's option; ``None`` if that is not known.
    :ivar creates_nothing: whether an accepted request has created nothing.
    :ivar creates: whether a request has created a deployment.
    :ivar problem: what was or may have been created, and whether it was deleted.
    """

    subject: Subject
    account: str
    attempts: list[Attempt] = field(default_factory=list)
    shapeless: str | None = None
    creates_nothing: bool = False
    creates: bool = False
    problem: str = ""

    def send_all(self) -> None:
        """
        Send all requests.

        :raises DeploymentCreatedError: if one created a deployment.
        """
        for precision in self.subject.precisions_to_validate:
            self._send_without_shape(precision)
        shapes = self.subject.shapes or []
        listed = self.subject.listed_precisions
        # Whether an unlisted precision is refused says more.
        shapes = sorted(shapes, key=lambda shape: self.subject.precision_of(shape) in ["", *listed])
        for shape in shapes[:1]:
            precision = self.subject.precision_of(shape)
            self._send(
                f"{precision or 'own precision'}, {shape.name}", precision, {"deploymentShape": shape.name}
            )
        for attempt in self.attempts:
            if attempt.may_have_created:
                self._delete_if_created(attempt.deployment, wait=False)

    def _send_without_shape(self, precision: str) -> None:
        if self.shapeless == "refused":
            return
        accelerators = self.subject.accelerator_type
        what, fields = (
            f"{precision}, {accelerators}",
            {"precision": precision, "acceleratorType": accelerators},
        )
        if self.shapeless != "with_risk":
            first = self._send(what, precision, fields)
            if first.error is None:
                self.shapeless = "accepted"
            if not _objects_to_no_shape(first):
                return
        second = self._send(f"{what}, acceptShapelessRisk", precision, fields, accept_shapeless_risk=True)
        self.shapeless = "refused" if _objects_to_no_shape(second) else "with_risk"

    def _send(
        self, what: str, precision: str, fields: dict[str, Any], *, accept_shapeless_risk: bool = False
    ) -> Attempt:
        deployment = DeploymentName(self.account, f"airflow-check-{secrets.token_hex(6)}")
        attempt = Attempt(deployment, what, precision, "deploymentShape" in fields)
        # Before it is sent, for a Ctrl-C while it is.
        self.attempts.append(attempt)
        spec = {
            "baseModel": str(self.subject.model_name),
            "minReplicaCount": 0,
            "maxReplicaCount": 1,
            "displayName": "airflow check, can be deleted",
            **fields,
        }
        try:
            self.subject.hook.create_deployment(
                deployment, spec, validate_only=True, accept_shapeless_risk=accept_shapeless_risk
            )
        except ApiError as error:
            attempt.error = error
        if attempt.may_have_created and not self.creates_nothing:
            self._delete_if_created(deployment, wait=True)
            self.creates_nothing = attempt.error is None
        return attempt

    def _delete_if_created(self, deployment: DeploymentName, *, wait: bool) -> None:
        """
        Delete a deployment if it exists.

        :param wait: whether it may become visible later.
        :raises DeploymentCreatedError: if it existed, or if that is not known.
        """
        hook = self.subject.hook
        exists = self._exists(deployment, wait=wait)
        if exists is False:
            return
        # Its id is new and random, so it is nobody else's.
        steps = remove(
            deployment,
            timeout=hook.timing.cleanup_timeout,
            hard=True,
            unread="delete",
            insist=True,
            timing=hook.timing,
        )
        removal = run_removal(steps, hook, log)
        self.creates = self.creates or exists is True
        if removal.status == "left":
            state = f"It created {deployment}" if exists else f"{deployment} may exist"
            why = sentence(removal.error or removal.note)
            raise DeploymentCreatedError(f"{state}, and deleting it failed: {why} {_delete_it(deployment)}")
        if exists:
            raise DeploymentCreatedError(f"It created {deployment}, which was deleted again.")
        raise DeploymentCreatedError(f"Whether it created {deployment} is not known; it does not exist now.")

    def _exists(self, deployment: DeploymentName, *, wait: bool) -> bool | None:
        """Return whether a deployment exists, ``None`` if the API does not say."""
        hook = self.subject.hook
        seconds = hook.timing.visibility_lag if wait else 0.0
        deadline = time.monotonic() + seconds
        if wait:
            self.subject.progress(
                f"Reading {deployment} for {seconds:g} s: validateOnly should not create it."
            )
        while True:
            exists: bool | None = None
            try:
                hook.get_deployment(deployment)
                return True
            except NotFoundError:
                exists = False
            except ApiError as error:
                log.warning("%s", error)
            if time.monotonic() >= deadline:
                return exists
            time.sleep(hook.timing.min_delete_delay)

    def clean_up(self) -> str:
        """Delete what may have been created, and return a warning if something may be left."""
        warnings = []
        for attempt in self.attempts:
            if not attempt.may_have_created:
                continue
            try:
                self._delete_if_created(attempt.deployment, wait=not self.creates_nothing)
            except DeploymentCreatedError as created:
                warnings.append(str(created))
            except KeyboardInterrupt:
                warnings.append(f"{attempt.deployment} may exist. {_delete_it(attempt.deployment)}")
        return " ".join(warnings)

    def result(self, name: str) -> Result:
        """Return what the requests have shown."""
        lines = [str(attempt) for attempt in self.attempts]
        if self.problem:
            lines.insert(
                0, f"validateOnly must not create anything. {self.problem} Nothing more was validated."
            )
            option = EmulatorOption(
                "validate_only", "creates", "a request with validateOnly created a deployment"
            )
            return Result(name, False, "\n".join(lines), (option,) if self.creates else ())
        if not self.creates_nothing:
            lines.insert(0, "not known: no request was accepted")
            return Result(name, None, "\n".join(lines), self._settled("not known"))
        checks = self._checks()
        lines.insert(0, f"creates nothing; {checks[1]}")
        return Result(name, True, "\n".join(lines), self._settled(*checks))

    def _checks(self) -> tuple[str, str]:
        """Return the value of the emulator's option, ``not known`` for none, and why."""
        subject = self.subject
        for attempt in self.attempts:
            unlisted = attempt.precision and attempt.precision not in subject.listed_precisions
            if attempt.error is None and unlisted and subject.model and subject.model.lists_precisions:
                return (
                    "blind",
                    f"does not check the precision: {attempt.precision} is not listed, and accepted",
                )
        for has_shape in (False, True):
            of_kind = [attempt for attempt in self.attempts if attempt.has_shape is has_shape]
            accepted = [each.precision for each in of_kind if each.error is None]
            refused = [each.precision for each in of_kind if isinstance(each.error, RefusedError)]
            refused = [each for each in refused if each not in accepted]
            if accepted and refused:
                return "checks", f"checks the precision: {accepted[0]} is accepted, {refused[0]} is refused"
        return "not known", "whether it checks the precision is not known"

    def _settled(self, checks: str, because: str = "") -> tuple[EmulatorOption, ...]:
        settled = []
        if checks != "not known":
            settled.append(EmulatorOption("validate_only", checks, f"validateOnly {because}"))
        # What is accepted without a check may still be refused.
        if self.shapeless and not (checks == "blind" and self.shapeless == "accepted"):
            meaning = {
                "accepted": "accepted",
                "with_risk": "accepted with acceptShapelessRisk only",
                "refused": "refused",
            }
            because = f"a request without a shape is {meaning[self.shapeless]}"
            settled.append(EmulatorOption("shapeless", self.shapeless, because))
        return tuple(settled)


def _objects_to_no_shape(attempt: Attempt) -> bool:
    return isinstance(attempt.error, RefusedError) and "shape" in attempt.error.message.lower()


def _delete_it(deployment: DeploymentName) -> str:
    return f"Delete it, {MONEY}: {FireworksDeploymentLink().address(str(deployment))}"

"""
The requests with ``validateOnly``, which should create nothing.

Because an API that ignores ``validateOnly`` would create a deployment, which costs money, nothing more is sent after
the first accepted request until it is certain that it created none. However the check ends, the id of every request
that was not plainly refused is deleted.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import secrets
import time
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from airflow_provider_fireworks.check.output import EmulatorOption, Found
from airflow_provider_fireworks.check.subject import Subject, precision_of
from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    ConnectError,
    NotFoundError,
    RefusedError,
)
from airflow_provider_fireworks.client.names import DeploymentName, InvalidNameError
from airflow_provider_fireworks.client.resources import Deployment
from airflow_provider_fireworks.client.text import sentence

ResultT = TypeVar("ResultT")

WATCH = (1 / 15, 1 / 6, 1 / 3, 2 / 3, 1)
"""When to read, as shares of ``visibility_lag``: at 2, 5, 10, 20 and 30 s. Some accounts have 10 requests a minute."""
_SHAPELESS = {
    "accepted": "accepted",
    "with_risk": "accepted with acceptShapelessRisk only",
    "refused": "refused",
}
_ATTEMPTS = 12
"""How often to send a request over 429 or without a connection, so that a limit of requests a minute can pass."""
_MAX_FAILURES = 2
"""Transient errors after which nothing more is validated."""
_NO_SHAPE = re.compile(r"deployment ?shape|shapeless", re.IGNORECASE)


def check_validate_only(subject: Subject) -> None:
    """Validate deployments of the model, delete whatever that may have created, and add the row, however that ends."""
    validation = Validation(subject)
    try:
        try:
            validation.send_all()
            validation.delete_all()
        except BaseException:
            if subject.report.left:
                subject.report.note(
                    "Waiting for what may have been created, to delete it. Interrupt again to stop."
                )
            validation.delete_all()
            raise
    finally:
        subject.report.add("validateOnly", validation.found())


@dataclass
class Attempt:
    """
    One request with ``validateOnly``.

    :ivar what: what is to be deployed, for a person.
    :ivar precision: its precision, empty for the model's own.
    :ivar exists: whether the deployment existed when it was last read, ``None`` if that is not known.
    """

    deployment: DeploymentName
    what: str
    precision: str
    has_shape: bool = False
    accepted: bool = False
    error: ApiError | None = None
    exists: bool | None = None

    @property
    def is_refused(self) -> bool:
        """Whether it cannot have created anything: not sent, or refused by the API itself, but not with 409."""
        error = self.error
        if error is None or error.outcome_unknown or error.status == 409:
            return False
        return error.is_response or isinstance(error, ConnectError)

    @property
    def wants_shape(self) -> bool:
        """Whether it was refused because it has no shape."""
        return isinstance(self.error, RefusedError) and _NO_SHAPE.search(self.error.message) is not None

    def __str__(self) -> str:
        if self.error is None:
            return f"{self.what}: {'accepted' if self.accepted else 'no response yet'}"
        said = str(self.error).removeprefix(f"{self.error.request}: ")
        return f"{self.what}: {'failed' if self.error.is_transient else 'refused'}: {said}"


class Validation:
    """Sends the requests one after the other, and deletes what they may have created."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._hook = subject.hook
        self._left = subject.report.left
        # Short timeouts: a clean-up must not wait for one response for long.
        self._client = self._hook.quick_client(timeout=self._hook.timing.trigger_request_timeout)
        self._sent_at = self._not_before = 0.0
        self._stopped = self._creates_nothing = False
        self.attempts: list[Attempt] = []
        # The emulator's option; "required" until it is known whether acceptShapelessRisk is enough.
        self.shapeless: str | None = None

    def send_all(self) -> None:
        """Send the requests, until one may have created something."""
        accelerators = self._subject.accelerator_type
        for precision, risk in itertools.product(self._subject.precisions_to_validate, (False, True)):
            if self.shapeless not in (("required", "with_risk") if risk else (None, "accepted")):
                continue
            fields = {"precision": precision, "acceleratorType": accelerators}
            what = f"{precision}, {accelerators}" + (", acceptShapelessRisk" if risk else "")
            attempt = Attempt(self._new_name(), what, precision)
            if not self._send(attempt, fields, risk=risk):
                return
            if attempt.wants_shape:
                if self.shapeless in (None, "required"):
                    self.shapeless = "refused" if risk else "required"
            elif attempt.accepted or (risk and attempt.error and attempt.error.code == "FAILED_PRECONDITION"):
                self.shapeless = "with_risk" if risk else "accepted"
        # Whether an unlisted precision is refused says more.
        listed = ["", *self._subject.listed_precisions]
        for shape in sorted(self._subject.shapes, key=lambda shape: precision_of(shape) in listed)[:1]:
            precision = precision_of(shape)
            what = f"{precision}, {shape.name}" if precision else f"the model's own precision, {shape.name}"
            attempt = Attempt(self._new_name(), what, precision, has_shape=True)
            self._send(attempt, {"deploymentShape": shape.name})

    def _new_name(self) -> DeploymentName:
        return DeploymentName(self._hook.account_id, f"airflow-check-{secrets.token_hex(6)}")

    def _send(self, attempt: Attempt, fields: dict[str, Any], *, risk: bool = False) -> bool:
        """Send one request, and return whether further ones may be sent."""
        name = attempt.deployment
        spec = {
            "baseModel": str(self._subject.model_name),
            "minReplicaCount": 0,
            "maxReplicaCount": 1,
            "displayName": "airflow check, can be deleted",
            **fields,
        }
        request = api.create_deployment(name, spec, validate_only=True, accept_shapeless_risk=risk)
        # Before it is sent, for an interrupt while it is.
        self.attempts.append(attempt)
        self._left[name] = "the check was interrupted"
        self._subject.report.progress(f"validating {attempt.what} …")
        try:
            # After a lost response it must not be sent again, since the API may have ignored validateOnly.
            created = self._hook.send(replace(request, read_only=False), attempts=_ATTEMPTS)
            attempt.accepted = True
            self._compare_name(created, name)
        except ApiError as error:
            attempt.error = error
            if attempt.is_refused:
                del self._left[name]
        finally:
            self._sent_at = time.monotonic()
        if name in self._left and not self._creates_nothing:
            self._watch([attempt])
            self._stopped = self._stopped or attempt.exists is not False
            self._creates_nothing = attempt.accepted
        failures = [each for each in self.attempts if each.error is not None and each.error.is_transient]
        return not self._stopped and len(failures) < _MAX_FAILURES

    def _compare_name(self, created: Deployment, sent: DeploymentName) -> None:
        if created.name.rpartition("/")[2] not in ("", sent.id):
            self._stopped = True
            with contextlib.suppress(InvalidNameError):
                named = DeploymentName.parse(created.name, account=sent.account)
                # A response must not choose which deployment is deleted.
                self._left[named] = "it was named by a response, but not requested"

    def _watch(self, attempts: list[Attempt]) -> None:
        """Read the deployments in turn, until they would be visible, and delete each that is found."""
        lag = self._hook.timing.visibility_lag
        ids = ", ".join(attempt.deployment.id for attempt in attempts)
        self._subject.report.progress(f"watching for {lag:g} s whether a deployment appears: {ids}")
        for share, attempt in zip(WATCH, itertools.cycle(attempts)):
            pause = self._sent_at + share * lag - time.monotonic()
            if pause < 0 or attempt.deployment not in self._left:
                continue
            time.sleep(pause)
            self._read(attempt)
            if attempt.exists:
                self._delete(attempt)

    def delete_all(self) -> None:
        """Delete the id of each request that may have created a deployment, once it would be visible."""
        suspects = [attempt for attempt in self.attempts if attempt.deployment in self._left]
        self._watch(suspects)
        for attempt in suspects:
            if attempt.deployment in self._left:
                self._delete(attempt)
        for name in self._left.keys() - {attempt.deployment for attempt in self.attempts}:
            reply = self._try(api.get_deployment(name))
            if isinstance(reply, NotFoundError):
                del self._left[name]

    def _delete(self, attempt: Attempt) -> None:
        """Delete a deployment until the API confirms that it is gone."""
        timing, name = self._hook.timing, attempt.deployment
        deadline, delay = time.monotonic() + timing.cleanup_timeout, timing.min_delete_delay
        hard, is_lost = True, False
        while True:
            # Its id is new and random, so it is nobody else's.
            error = self._try(api.delete_deployment(name, hard=hard, ignore_checks=True))
            if not isinstance(error, ApiError):
                attempt.exists = True
                del self._left[name]
                return
            is_lost = is_lost or error.outcome_unknown
            found = error if isinstance(error, NotFoundError) else self._read(attempt)
            is_deleted = isinstance(found, Deployment) and found.state in ("DELETING", "DELETED")
            if is_deleted or isinstance(found, NotFoundError):
                # An earlier DELETE may have deleted it.
                attempt.exists = attempt.exists or (None if is_lost else False)
                del self._left[name]
                return
            self._left[name] = str(error)
            if isinstance(error, AccessDeniedError) or time.monotonic() >= deadline:
                return
            # The API may refuse only to delete it for good; deleted softly, it costs nothing either.
            hard = hard and not isinstance(error, RefusedError)
            time.sleep(delay)
            delay = min(2 * delay, timing.max_delete_delay)

    def _read(self, attempt: Attempt) -> Deployment | ApiError:
        reply = self._try(api.get_deployment(attempt.deployment))
        if not isinstance(reply, ApiError):
            attempt.exists = True
        elif isinstance(reply, NotFoundError):
            attempt.exists = attempt.exists or False
        return reply

    def _try(self, request: api.Request[ResultT]) -> ResultT | ApiError:
        """Send a request once, not before the time that the API has asked for, and return its result or its error."""
        time.sleep(max(self._not_before - time.monotonic(), 0.0))
        try:
            return self._client.send(request, attempts=1)
        except ApiError as error:
            self._not_before = time.monotonic() + (error.retry_after or 0.0)
            return error

    def found(self) -> Found:
        """Return what the requests have shown."""
        created = [attempt.deployment for attempt in self.attempts if attempt.exists]
        problems = [f"{name} was created, and deleted again." for name in created if name not in self._left]
        left = self._left.items()
        problems += [f"{name} may exist, and was not deleted: {sentence(why)}" for name, why in left]
        accepted = [attempt for attempt in self.attempts if attempt.accepted]
        ok: bool | None = None
        checks, why = "", ""
        if problems:
            ok, summary = False, "\n".join(["must create nothing; nothing more was validated", *problems])
            checks, why = ("creates", "created a deployment") if created else ("", "")
        elif any(attempt.exists is None for attempt in accepted):
            summary = "not known: the API did not say whether a deployment appeared; none exists now"
        elif accepted:
            checks, why = self._checks()
            ok, summary = True, f"no deployment appeared within {self._hook.timing.visibility_lag:g} s; {why}"
        elif any(attempt.error is not None and attempt.error.is_transient for attempt in self.attempts):
            ok, summary = False, "nothing was validated"
        else:
            summary = "not known: no request was accepted"
        options = [EmulatorOption("validate_only", checks, f"validateOnly {why}")] if checks else []
        # What is accepted without a check may still be refused.
        if self.shapeless in _SHAPELESS and not (checks == "blind" and self.shapeless == "accepted"):
            because = f"a request without a shape is {_SHAPELESS[self.shapeless]}"
            options.append(EmulatorOption("shapeless", self.shapeless, because))
        return Found(ok, "\n".join([summary, *map(str, self.attempts)]), tuple(options))

    def _checks(self) -> tuple[str, str]:
        """Return the value of the emulator's option, empty if it is not known, and why."""
        accepted = [each for each in self.attempts if each.accepted]
        unlisted = self._subject.unlisted([each.precision for each in accepted])
        covered = self._subject.covered(unlisted)
        if unlisted and not covered:
            return "blind", f"does not check the precision: {unlisted[0]} is not listed, and accepted"
        covered = covered and f"; {', '.join(unlisted)} is accepted and not listed, but {covered}"
        refused = [each for each in self.attempts if isinstance(each.error, RefusedError) and each.is_refused]
        good = {(each.has_shape, each.precision) for each in accepted}
        for each, other in itertools.product(accepted, refused):
            if each.has_shape is other.has_shape and (other.has_shape, other.precision) not in good:
                both = f"{each.precision} is accepted, {other.precision} is refused"
                return "checks", f"checks the precision: {both}{covered}"
        return "", f"whether it checks the precision is not known{covered}"

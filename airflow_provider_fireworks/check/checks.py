"""The checks: each sends at most a few requests that change nothing, and returns a result."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_fireworks.check.results import EmulatorOption, Result
from airflow_provider_fireworks.check.subject import Subject
from airflow_provider_fireworks.check.validation import check_validate_only
from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    ConnectError,
    NoResponseError,
    NotFoundError,
)
from airflow_provider_fireworks.client.resources import DeploymentShape
from airflow_provider_fireworks.client.text import one_line
from airflow_provider_fireworks.exceptions import FireworksError, FireworksNotFound, error_from_api

_MANY = 10
"""The most items of a list to show."""


@dataclass(frozen=True)
class Check:
    """
    A check, and the name of its row.

    :ivar run: returns the result.
    :ivar optional: whether a failed request is no failure, because the API need not have the endpoint.
    """

    name: str
    run: Callable[[str, Subject], Result]
    optional: bool = False


def run_checks(subject: Subject, *, validate_deployments: bool) -> Iterator[Result]:
    """
    Run the checks one after the other.

    The requests are independent of each other, except that nothing is sent after the first one if the API cannot be
    reached, or rejects the key.

    :param validate_deployments: also send requests with ``validateOnly``.
    """
    connection = _run(Check("connection", check_connection), subject)
    yield connection
    rest = [
        *ACCOUNT_CHECKS,
        *(MODEL_CHECKS if subject.model_given else ()),
        *([VALIDATION] if validate_deployments else ()),
    ]
    missing = "the connection cannot be used" if subject.stop else ""
    for check in rest:
        if missing:
            yield Result(check.name, None, f"not run: {missing}")
            continue
        yield _run(check, subject)
        if subject.account is None:
            missing = "the account is not known"


def _run(check: Check, subject: Subject) -> Result:
    try:
        return check.run(check.name, subject)
    except ApiError as error:
        if check.optional:
            return Result(check.name, None, f"not known: {error}")
        return Result(check.name, False, str(error_from_api(error, str(error))))
    except FireworksError as error:
        return Result(check.name, False, str(error))


# ---- the connection and its account


def check_connection(name: str, subject: Subject) -> Result:
    """Read the connection and, with its key, the accounts."""
    subject.stop = True
    try:
        subject.config = subject.hook.config
    except FireworksError:
        raise
    except Exception as error:
        # Anything can go wrong in a secrets backend.
        return Result(
            name, False, f"The connection cannot be read: {type(error).__name__}: {one_line(error)}"
        )
    try:
        subject.accounts = [account.account_id for account in subject.hook.list_accounts()]
    except (ConnectError, NoResponseError) as error:
        return Result(name, False, f"{error}. Check the connection's Base URL, the network and the proxy.")
    except ApiError as error:
        subject.stop = error.misdirected or isinstance(error, AccessDeniedError)
        raise
    subject.stop = False
    return Result(name, True, f"{subject.config.base_url} accepts the API key")


def check_account(name: str, subject: Subject) -> Result:
    """Find the account of bare ids."""
    account = subject.account = subject.hook.account_id
    if subject.accounts is None:
        return Result(name, None, f"{account}; the accounts of the API key are not known")
    if account in subject.accounts:
        return Result(name, True, account)
    found = _some(sorted(subject.accounts)) or "no account"
    return Result(
        *(name, False),
        f"{account} is not among the accounts of the API key: {found}. Correct the connection's login or --account-id.",
    )


def check_zero_data_retention(name: str, subject: Subject) -> Result:
    """Read whether the account has zero data retention, with which it can prepare nothing."""
    value: Any = None
    try:
        settings = subject.hook.send(api.get_policy_settings(subject.hook.account_id))
        value = settings.zero_data_retention
        because = f"zeroDataRetention is {'unset' if value is None else one_line(value)}"
    except NotFoundError:
        because = "the account has no policySettings (404)"
    is_on = any(value.values()) if isinstance(value, Mapping) else bool(value)
    option = EmulatorOption("zero_data_retention", is_on, because)
    if is_on:
        return Result(name, False, "on: requests to prepare a model are rejected", (option,))
    return Result(name, True, "off", (option,))


def check_quotas(name: str, subject: Subject) -> Result:
    """Read the quotas of the account."""
    quotas = {quota.name.rpartition("/")[2]: quota for quota in subject.hook.list_quotas()}
    if not quotas:
        return Result(name, None, "not known: the API lists none")
    lines = [
        f"{quota}: {_number(each.usage)} of {_number(each.value)} in use" for quota, each in quotas.items()
    ]
    gpu = subject.accelerator_type.split("_")[1 if "_" in subject.accelerator_type else 0].lower()
    of_type = [quota for quota in quotas if re.search(rf"(?<![a-z0-9]){re.escape(gpu)}(?![a-z0-9])", quota)]
    # There can be one of each region as well.
    of_type = [quota for quota in of_type if quota.startswith("global")] or of_type
    value = quotas[of_type[0]].value if len(of_type) == 1 else None
    settles = () if value is None else (EmulatorOption("gpu_quota", value, f"quota {of_type[0]}"),)
    return Result(name, True, _some(lines, "\n"), settles)


def check_deleted_deployments(name: str, subject: Subject) -> Result:
    """Read a deployment that is deleted, if there is one."""
    listed = subject.hook.list_deployments(show_deleted=True)
    deleted = next((each for each in listed if each.state == "DELETED"), None)
    if deleted is None:
        return Result(name, None, "not known: the list has no deployment that is DELETED")
    deployment = subject.hook.listed_name(deleted)
    try:
        subject.hook.get_deployment(deployment)
        found, detail = "deleted", f"a GET returns {deployment}, which is DELETED"
    except NotFoundError:
        found, detail = "not_found", f"a GET of {deployment}, which is DELETED, gets 404"
    return Result(name, True, detail, (EmulatorOption("deleted_get", found, detail),))


# ---- the model


def check_model(name: str, subject: Subject) -> Result:
    """Read the model."""
    model_name = subject.model_name
    try:
        model = subject.model = subject.hook.get_model(model_name)
    except NotFoundError as error:
        return Result(name, False, f"{model_name} does not exist ({error}). {FireworksNotFound.hint}")
    status = model.status
    detail = f"{model_name}: state {model.state or 'not sent'}, status {status or 'OK'}"
    if model.state == "READY" and status is not None and status.is_error:
        option = EmulatorOption("stale_status", True, f"the model is READY with the status {status}")
        return Result(
            name, True, f"{detail} (a READY model keeps the error of an earlier operation)", (option,)
        )
    return Result(name, model.state != "FAILED", detail)


def check_precision_lists(name: str, subject: Subject) -> Result:
    """Say whether the model lists its precisions."""
    model = subject.model
    if model is None:
        return Result(name, None, "not run: the model was not read")
    value = "present" if model.lists_precisions else "absent" if model.omits_precisions else "empty"
    meaning = "" if value == "present" else ": readiness has to be inferred, see docs/readiness.md"
    calibrated = {None: "not sent", True: "true", False: "false"}[model.calibrated]
    lines = [
        f"{value}{meaning}",
        f"supportedPrecisions: {_list(model.supported_precisions)}",
        f"supportedPrecisionsWithCalibration: {_list(model.supported_precisions_with_calibration)}",
        f"calibrated: {calibrated}, default precision: {subject.default_precision or 'not sent'}",
    ]
    option = EmulatorOption("precision_lists", value, f"the lists of {subject.model_name} are {value}")
    return Result(name, True, "\n".join(lines), (option,))


def check_shapes(name: str, subject: Subject) -> Result:
    """Read the deployment shapes that fit the model."""
    if subject.model is None:
        return Result(name, None, "not run: the model was not read")
    subject.shapes = subject.hook.match_deployment_shapes(subject.model_name)
    hardware: dict[str, set[str]] = {}
    for shape in subject.shapes:
        found = shape.snapshot or DeploymentShape()
        count = f" x{found.accelerator_count}" if found.accelerator_count else ""
        precision = subject.precision_of(shape) or "the model's own precision"
        hardware.setdefault(precision, set()).add(f"{found.accelerator_type or 'unknown'}{count}")
    if not hardware:
        return Result(name, True, "no shape fits the model")
    lines = [f"{precision}: {', '.join(sorted(found))}" for precision, found in sorted(hardware.items())]
    unlisted = [each for each in subject.shape_precisions if each not in subject.listed_precisions]
    if not subject.model.lists_precisions or not unlisted:
        return Result(name, True, "\n".join(lines))
    because = f"shapes at {', '.join(unlisted)}, which the model does not list"
    return Result(name, True, "\n".join([*lines, because]), (EmulatorOption("match_shapes", "all", because),))


ACCOUNT_CHECKS = (
    Check("account", check_account),
    Check("zero data retention", check_zero_data_retention, optional=True),
    Check("GPU quotas", check_quotas, optional=True),
    Check("deleted deployments", check_deleted_deployments, optional=True),
)
MODEL_CHECKS = (
    Check("model", check_model),
    Check("precision lists", check_precision_lists),
    Check("deployment shapes", check_shapes, optional=True),
)
VALIDATION = Check("validateOnly", check_validate_only)


def _some(items: list[str], separator: str = ", ") -> str:
    more = [f"and {len(items) - _MANY} more"] if len(items) > _MANY else []
    return separator.join([*items[:_MANY], *more])


def _list(precisions: list[str] | None) -> str:
    return "not sent" if precisions is None else ", ".join(precisions) or "empty"


def _number(value: Any) -> str:
    return "?" if value is None else f"{value:g}"

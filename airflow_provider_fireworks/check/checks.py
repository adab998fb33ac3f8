"""The checks: each sends at most a few requests that change nothing, and returns what it found."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_fireworks.check.output import EmulatorOption, Found
from airflow_provider_fireworks.check.subject import Subject, precision_of
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
_FIRST_TIMEOUT = 10.0
"""Seconds for one attempt of the first request: whoever runs it for the first time watches it."""


def run_checks(subject: Subject, *, validate_deployments: bool) -> None:
    """Run the checks one after the other, and add a row for each."""
    checks: list[tuple[str, Callable[[Subject], Found], bool]] = [
        # Whether a failed request is no failure, because the API need not have the endpoint.
        ("connection", check_connection, False),
        ("account", check_account, False),
        ("zero data retention", check_zero_data_retention, True),
        ("GPU quotas", check_quotas, True),
        ("model", check_model, False),
        ("precision lists", check_precision_lists, False),
        ("deployment shapes", check_shapes, True),
    ]
    checks = checks if subject.model_given else checks[:4]
    names = [name for name, _, _ in checks] + (["validateOnly"] if validate_deployments else [])
    for name, check, is_optional in checks:
        subject.report.progress(f"{name} …")
        try:
            found = check(subject)
        except ApiError as error:
            shown = f"not known: {error}" if is_optional else str(error_from_api(error, str(error)))
            found = Found(None if is_optional else False, shown)
        except FireworksError as error:
            found = Found(False, str(error))
        subject.report.add(name, found)
        names.remove(name)
        if subject.stop:
            if names:
                subject.report.add("not run", Found(None, f"{', '.join(names)}: {subject.stop}"))
            return
    if validate_deployments:
        check_validate_only(subject)


# ---- the connection and its account


def check_connection(subject: Subject) -> Found:
    """Read the connection and, with its key, the accounts."""
    hook = subject.hook
    subject.stop = "the connection cannot be used"
    try:
        subject.report.config = config = hook.config
    except FireworksError:
        raise
    except Exception as error:
        # Anything can go wrong in a secrets backend.
        return Found(False, f"The connection cannot be read: {type(error).__name__}: {one_line(error)}")
    try:
        client = hook.quick_client(timeout=min(_FIRST_TIMEOUT, hook.timing.response_timeout))
        subject.accounts = [account.account_id for account in client.send_all(api.list_accounts())]
    except (ConnectError, NoResponseError) as error:
        return Found(False, f"{error}. Check the connection's Base URL, the network and the proxy.")
    except ApiError as error:
        if not error.misdirected and not isinstance(error, AccessDeniedError):
            subject.stop = ""
        raise
    subject.stop = ""
    return Found(True, f"{config.base_url} accepts the API key")


def check_account(subject: Subject) -> Found:
    """Find the account of bare ids."""
    subject.stop = "the account is not known"
    account = subject.report.about["accountId"] = subject.hook.account_id
    subject.stop = ""
    if subject.accounts is None:
        return Found(None, f"{account}; the accounts of the API key are not known")
    if account in subject.accounts:
        return Found(True, account)
    subject.stop = "it is not an account of the API key"
    found = _some(sorted(subject.accounts)) or "no account"
    wrong = f"{account} is not among the accounts of the API key: {found}."
    return Found(False, f"{wrong} Correct the connection's Account ID or --account-id.")


def check_zero_data_retention(subject: Subject) -> Found:
    """Read whether the account has zero data retention, with which it can prepare nothing."""
    try:
        value: Any = subject.hook.send(api.get_policy_settings(subject.hook.account_id)).zero_data_retention
    except NotFoundError:
        because = "no policy settings (404): they were never set, or the API is older"
        if not subject.report.rows["account"].ok:
            return Found(None, f"not known: {because}")
        return Found(True, f"off: {because}", (EmulatorOption("zero_data_retention", False, because),))
    is_on = value.get("enabled") if isinstance(value, Mapping) else value is not None and value
    shown = "unset" if value is None else one_line(value)
    if not isinstance(is_on, bool):
        return Found(None, f"not known: zeroDataRetention is {shown}")
    option = EmulatorOption("zero_data_retention", is_on, f"zeroDataRetention is {shown}")
    return Found(not is_on, "on: requests to prepare a model are rejected" if is_on else "off", (option,))


def check_quotas(subject: Subject) -> Found:
    """Read the quotas of the account."""
    quotas = {quota.name.rpartition("/")[2]: quota for quota in subject.hook.list_quotas()}
    if not quotas:
        return Found(None, "not known: the API lists none")
    lines = []
    for name, quota in quotas.items():
        used = "?" if quota.usage is None else f"{quota.usage:g}"
        limit = "?" if quota.value is None else "unlimited" if quota.value < 0 else quota.value
        lines.append(f"{name}: {used} of {limit} in use")
    shown = _some(lines, "\n")
    gpu = subject.accelerator_type.split("_")[1 if "_" in subject.accelerator_type else 0].lower()
    of_type = [name for name in quotas if re.search(rf"(?<![a-z0-9]){re.escape(gpu)}(?![a-z0-9])", name)]
    if not of_type:
        return Found(True, f"{shown}\nno quota is named after {gpu}, of {subject.accelerator_type}")
    # There can be one of each region as well.
    of_type = [name for name in of_type if name.startswith("global")] or of_type
    value = quotas[of_type[0]].value
    if len(of_type) > 1 or value is None or value < 0:
        return Found(True, shown)
    return Found(True, shown, (EmulatorOption("gpu_quota", value, f"quota {of_type[0]}"),))


# ---- the model


def check_model(subject: Subject) -> Found:
    """Read the model."""
    subject.stop = "the model was not read"
    name = subject.model_name
    try:
        model = subject.model = subject.hook.get_model(name)
    except NotFoundError as error:
        return Found(False, f"{name} does not exist ({error}). {FireworksNotFound.hint}")
    subject.stop = ""
    detail = f"{name}: state {model.state or 'not sent'}, status {model.status or 'OK'}"
    if model.state == "READY" and model.status is not None and model.status.is_error:
        return Found(None, f"{detail}: of an earlier operation, or of a preparation that has just failed")
    return Found(model.state != "FAILED", detail)


def check_precision_lists(subject: Subject) -> Found:
    """Say whether the model lists its precisions."""
    model = subject.model
    if model is None:
        return Found(None, "not known: the model was not read")
    value = "present" if model.lists_precisions else "absent" if model.omits_precisions else "empty"
    meaning = "" if value == "present" else ": readiness has to be inferred, see docs/readiness.md"
    calibrated = {None: "not sent", True: "true", False: "false"}[model.calibrated]
    lines = [
        f"{value}{meaning}",
        f"supportedPrecisions: {_list(model.supported_precisions)}",
        f"supportedPrecisionsWithCalibration: {_list(model.supported_precisions_with_calibration)}",
        f"calibrated: {calibrated}, default precision: {subject.default_precision or 'not sent'}",
    ]
    if not subject.decides_lists:
        lines.append("says nothing of other models: this is not a base model that is READY")
        return Found(True, "\n".join(lines))
    option = EmulatorOption("precision_lists", value, f"the lists of {subject.model_name} are {value}")
    return Found(True, "\n".join(lines), (option,))


def check_shapes(subject: Subject) -> Found:
    """Read the deployment shapes that fit the model."""
    subject.shapes = subject.hook.match_deployment_shapes(subject.model_name)
    hardware: dict[str, set[str]] = {}
    for shape in subject.shapes:
        found = shape.snapshot or DeploymentShape()
        count = f" x{found.accelerator_count}" if found.accelerator_count else ""
        precision = precision_of(shape) or "the model's own precision"
        hardware.setdefault(precision, set()).add(f"{found.accelerator_type or 'unknown'}{count}")
    if not hardware:
        return Found(True, "no shape fits the model")
    lines = [f"{precision}: {', '.join(sorted(found))}" for precision, found in sorted(hardware.items())]
    unlisted = subject.unlisted(subject.shape_precisions)
    if not unlisted:
        return Found(True, "\n".join(lines))
    because = f"shapes at {', '.join(unlisted)}, which the model does not list"
    if covered := subject.covered(unlisted):
        return Found(True, "\n".join([*lines, f"{because}, but {covered}"]))
    return Found(True, "\n".join([*lines, because]), (EmulatorOption("match_shapes", "all", because),))


def _some(items: list[str], separator: str = ", ") -> str:
    more = [f"and {len(items) - _MANY} more"] if len(items) > _MANY else []
    return separator.join([*items[:_MANY], *more])


def _list(precisions: list[str] | None) -> str:
    return "not sent" if precisions is None else ", ".join(precisions) or "empty"

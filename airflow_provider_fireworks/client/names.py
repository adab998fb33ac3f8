"""Resource names (``accounts/{account}/models/{model}``): parsed and checked before anything is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_fireworks.client.errors import one_line

_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_LONGEST_SHOWN = 200
_ID_RULE = "1 to 63 of a-z, 0-9 and '-', with no '-' at either end"


class InvalidNameError(ValueError):
    """An id or a resource name that is not one, or that would change the path of a request."""


def check_id(value: object, what: str) -> str:
    """
    Return an id unchanged, or refuse it.

    :param value: what was given as the id.
    :param what: what it is the id of, for the message (``"model id"``).
    :raises InvalidNameError: unless it is 1 to 63 of ``[a-z0-9-]`` with no hyphen at an edge.
    """
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise InvalidNameError(f"{_shown(value)} is no {what}: {_ID_RULE}.")


@dataclass(frozen=True)
class ModelName:
    """A model's full resource name, in its two parts."""

    account: str
    model: str

    def __str__(self) -> str:
        return f"accounts/{self.account}/models/{self.model}"


@dataclass(frozen=True)
class DeploymentName:
    """A deployment's full resource name, in its two parts."""

    account: str
    deployment: str

    def __str__(self) -> str:
        return f"accounts/{self.account}/deployments/{self.deployment}"


def split_model(model: object) -> tuple[str | None, str]:
    """
    Split a model as users write it into account and id, both checked; a bare id has no account.

    :param model: ``my-model`` or ``accounts/my-account/models/my-model``.
    :raises InvalidNameError: if a part is no id (``..``, ``/``, ``?``, ``#``, ``%``, blanks and control
        characters are none).
    """
    return _split(model, "model")


def parse_model(model: object, *, account: str | None) -> ModelName:
    """
    Return a model's full resource name.

    :param model: an id or a full resource name.
    :param account: the account of a bare id. Beside a full name it must be that name's own.
    :raises InvalidNameError: if the model is none, comes without an account, or belongs to another one.
    """
    return ModelName(*_parse(model, "model", account))


def split_deployment(deployment: object) -> tuple[str | None, str]:
    """
    Split a deployment as users write it into account and id, as :func:`split_model` does a model.

    :param deployment: ``my-deployment`` or ``accounts/my-account/deployments/my-deployment``.
    :raises InvalidNameError: if a part is no id.
    """
    return _split(deployment, "deployment")


def parse_deployment(deployment: object, *, account: str | None) -> DeploymentName:
    """
    Return a deployment's full resource name.

    :param deployment: an id or a full resource name.
    :param account: the account of a bare id. Beside a full name it must be that name's own.
    :raises InvalidNameError: if the deployment is none, comes without an account, or belongs to another one.
    """
    return DeploymentName(*_parse(deployment, "deployment", account))


def _shown(value: object) -> str:
    return one_line(repr(value), limit=_LONGEST_SHOWN)


def _split(name: object, kind: str) -> tuple[str | None, str]:
    if isinstance(name, str) and name and "/" not in name:
        return None, check_id(name, f"{kind} id")
    parts = name.split("/") if isinstance(name, str) else []
    if len(parts) != 4 or parts[0] != "accounts" or parts[2] != f"{kind}s":
        raise InvalidNameError(
            f"{_shown(name)} is no {kind}: give its id or accounts/<account>/{kind}s/<{kind}>."
        )
    return check_id(parts[1], "account id"), check_id(parts[3], f"{kind} id")


def _parse(name: object, kind: str, account: str | None) -> tuple[str, str]:
    named, resource_id = _split(name, kind)
    if named is None and account is None:
        raise InvalidNameError(f"The {kind} id {resource_id!r} needs an account to belong to.")
    if account is not None:
        check_id(account, "account id")
        if named not in (None, account):
            raise InvalidNameError(f"{name!r} belongs to account {named!r}, not to {account!r} as asked for.")
    return named or account or "", resource_id

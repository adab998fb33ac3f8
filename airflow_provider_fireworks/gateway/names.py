"""Resource names (``accounts/{account}/models/{model}``): parsed and checked before anything is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
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
    raise InvalidNameError(f"{value!r} is no {what}: {_ID_RULE}.")


@dataclass(frozen=True)
class ModelName:
    """A model's full resource name, in its two parts."""

    account: str
    model: str

    def __str__(self) -> str:
        return f"accounts/{self.account}/models/{self.model}"


def split_model(model: object) -> tuple[str | None, str]:
    """
    Split a model as users write it into account and id, both checked; a bare id has no account.

    :param model: ``my-model`` or ``accounts/my-account/models/my-model``.
    :raises InvalidNameError: if a part is no id (``..``, ``/``, ``?``, ``#``, ``%``, blanks and control
        characters are none).
    """
    if isinstance(model, str) and model and "/" not in model:
        return None, check_id(model, "model id")
    parts = model.split("/") if isinstance(model, str) else []
    if len(parts) != 4 or parts[0] != "accounts" or parts[2] != "models":
        raise InvalidNameError(f"{model!r} is no model: give its id or accounts/<account>/models/<model>.")
    return check_id(parts[1], "account id"), check_id(parts[3], "model id")


def parse_model(model: object, *, account: str | None) -> ModelName:
    """
    Return a model's full resource name.

    :param model: an id or a full resource name.
    :param account: the account of a bare id. Beside a full name it must be that name's own.
    :raises InvalidNameError: if the model is none, comes without an account, or belongs to another one.
    """
    named, model_id = split_model(model)
    if named is None and account is None:
        raise InvalidNameError(f"The model id {model_id!r} needs an account to belong to.")
    if account is not None:
        check_id(account, "account id")
        if named not in (None, account):
            raise InvalidNameError(
                f"{model!r} belongs to account {named!r}, not to {account!r} as asked for."
            )
    return ModelName(named or account or "", model_id)

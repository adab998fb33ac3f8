"""
What differs between the deployment that was requested then and the one that is requested now. Sends nothing.

A field counts as changed only if the request for it changed, because the API may return another value than the one
requested, such as a shape's full name for ``"default"``. So the signature in the deployment's description holds a
digest of what was requested. A description has no room for the values themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic.alias_generators import to_camel, to_snake

from airflow_provider_fireworks.client.resources import Deployment

UPDATABLE = frozenset({"displayName", "minReplicaCount", "maxReplicaCount", "autoscalingPolicy"})
"""Fields that are updated in place. A deployment that differs in any other field would have to be replaced."""

_FIXED_ARGUMENTS = ("precision", "acceleratorType", "acceleratorCount", "deploymentShape")
_FIXED_DIGITS = 6
_FIELD_DIGITS = 3
"""One change of a field in 4096 goes unnoticed. More digits would not fit into every description."""


@dataclass(frozen=True)
class Changes:
    """
    What has changed.

    :ivar fixed: a phrase for each field that cannot be updated, with its old and its new value.
    :ivar updates: the fields to update, as the API spells them.
    :ivar notes: a phrase for each of these.
    """

    fixed: tuple[str, ...] = ()
    updates: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def digest_of(spec: Mapping[str, Any]) -> str:
    """Return 18 hexadecimal digits: 6 of the fields that cannot be updated, and 3 of each that can."""
    fixed, updatable = _split(spec)
    each = (_hash(updatable.get(name))[:_FIELD_DIGITS] for name in sorted(UPDATABLE))
    return _hash(fixed)[:_FIXED_DIGITS] + "".join(each)


def changes_since(found: Deployment, digest: str, spec: Mapping[str, Any]) -> Changes:
    """
    Compare a deployment that exists with what is requested now.

    :param found: as the API shows it, for the old values.
    :param digest: of what was requested then; ``""`` if an earlier version of this package created it. Then a
        field counts as changed if both sides have it and it differs.
    :param spec: what is requested now, without the description.
    """
    fixed, updatable = _split(spec)
    now = digest_of(spec)
    fixed_differ = {name: value for name, value in fixed.items() if _differs(found, name, value)}
    omissions: list[str] = []
    if not digest:
        updates = {name: value for name, value in updatable.items() if _differs(found, name, value)}
    else:
        # If the digest differs and no visible value does, an argument was omitted; else it may be any of them.
        omitted = {
            name: None for name in _FIXED_ARGUMENTS if name not in fixed and _differs(found, name, None)
        }
        same = digest[:_FIXED_DIGITS] == now[:_FIXED_DIGITS]
        fixed_differ = {} if same else fixed_differ or omitted or fixed
        changed = [
            name
            for place, name in enumerate(sorted(UPDATABLE))
            if _digits_of_field(digest, place) != _digits_of_field(now, place)
        ]
        updates = {name: updatable[name] for name in changed if name in updatable}
        omissions = [f"{to_snake(name)} omitted, not updated" for name in changed if name not in updatable]
    return Changes(
        fixed=tuple(_phrase(found, name, value) for name, value in fixed_differ.items()),
        updates=updates,
        notes=(
            *(_phrase(found, name, value) for name, value in updates.items() if _shown(found, name) != value),
            *omissions,
        ),
    )


def _digits_of_field(digest: str, place: int) -> str:
    start = _FIXED_DIGITS + place * _FIELD_DIGITS
    return digest[start : start + _FIELD_DIGITS]


def _split(spec: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    spelt = {to_camel(name): value for name, value in spec.items()}
    fixed = {name: value for name, value in spelt.items() if name not in UPDATABLE}
    return fixed, {name: value for name, value in spelt.items() if name in UPDATABLE}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _shown(found: Deployment, name: str) -> Any:
    extra = found.model_extra or {}
    return (
        getattr(found, to_snake(name), None)
        if to_snake(name) in type(found).model_fields
        else extra.get(name)
    )


def _differs(found: Deployment, name: str, value: Any) -> bool:
    # The API returns zero for an unset number.
    shown = _shown(found, name)
    return shown not in (None, "", 0, "PRECISION_UNSPECIFIED") and shown != value


def _phrase(found: Deployment, name: str, value: Any) -> str:
    old, new = ("unset" if each in (None, "") else each for each in (_shown(found, name), value))
    return f"{to_snake(name)} {old} → {new}"

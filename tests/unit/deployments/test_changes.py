"""What counts as changed between the deployment that was requested then and the one that is requested now."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.client.resources import Deployment
from airflow_provider_fireworks.deployments.changes import UPDATABLE, Changes, changes_since, digest_of

MODEL = "accounts/demo/models/my-model"
OTHER_MODEL = "accounts/demo/models/my-other-model"
SPEC: dict[str, Any] = {
    "baseModel": MODEL,
    "displayName": "made",
    "precision": "FP8",
    "acceleratorType": "NVIDIA_H100_80GB",
    "acceleratorCount": 1,
    "minReplicaCount": 0,
    "maxReplicaCount": 2,
    "autoscalingPolicy": {"scaleDownWindow": "60s", "scaleToZeroWindow": "300s"},
    "enableAddons": True,
}
SHAPED = {"baseModel": MODEL, "displayName": "made", "deploymentShape": "default", "minReplicaCount": 0}


def deployment(spec: dict[str, Any] = SPEC, **fields: Any) -> Deployment:
    """Return the deployment of this request as the API shows it, but with these fields."""
    return Deployment.model_validate({**spec, "state": "READY", **fields})


# ---- the digest


def test_digest_is_the_same_in_every_release() -> None:
    # Otherwise the arguments of every existing deployment would count as changed.
    assert digest_of(SPEC) == "b97024db4f1fd475fe"
    assert digest_of(SHAPED) == "a89a5d742f1f7425fe"


def test_digest_is_eighteen_hexadecimal_digits() -> None:
    assert re.fullmatch(r"[0-9a-f]{18}", digest_of(SPEC))
    assert re.fullmatch(r"[0-9a-f]{18}", digest_of({}))


@given(st.permutations(list(SPEC)))
def test_digest_ignores_order_of_fields(names: list[str]) -> None:
    assert digest_of({name: SPEC[name] for name in names}) == digest_of(SPEC)


def test_digest_ignores_order_inside_fields() -> None:
    policy = dict(reversed(SPEC["autoscalingPolicy"].items()))
    assert list(policy) != list(SPEC["autoscalingPolicy"])
    assert digest_of(SPEC | {"autoscalingPolicy": policy}) == digest_of(SPEC)


@pytest.mark.parametrize(
    ("camel", "snake"),
    [
        ("autoscalingPolicy", "autoscaling_policy"),
        ("enableAddons", "enable_addons"),
        ("ngramSpeculationLength", "ngram_speculation_length"),
        ("region", "region"),
    ],
)
def test_digest_ignores_spelling_of_extra_fields(camel: str, snake: str) -> None:
    assert digest_of(SPEC | {camel: 5}) == digest_of(
        {name: value for name, value in SPEC.items() if name != camel} | {snake: 5}
    )


@pytest.mark.parametrize("name", SPEC)
@pytest.mark.parametrize("is_omitted", [False, True], ids=["changed", "omitted"])
def test_digest_shows_which_updatable_field_changed(name: str, is_omitted: bool) -> None:
    changed = {k: v for k, v in SPEC.items() if k != name} if is_omitted else SPEC | {name: "another"}
    places = {"fixed": slice(6)} | {
        each: slice(6 + 3 * at, 9 + 3 * at) for at, each in enumerate(sorted(UPDATABLE))
    }
    differ = [each for each, place in places.items() if digest_of(changed)[place] != digest_of(SPEC)[place]]
    assert differ == [name if name in UPDATABLE else "fixed"]


def test_updatable_fields() -> None:
    assert sorted(UPDATABLE) == ["autoscalingPolicy", "displayName", "maxReplicaCount", "minReplicaCount"]


# ---- with a digest

SPELLINGS: list[dict[str, Any]] = [
    {"deploymentShape": "accounts/fireworks/deploymentShapes/default/versions/abc"},
    {"deploymentShape": None},
    {"baseModel": "accounts/demo/models/my-model@2"},
    {"precision": "fp8"},
    {"precision": "PRECISION_UNSPECIFIED"},
    {"acceleratorType": "H100", "acceleratorCount": 8},
    {"displayName": "made by hand"},
    {"minReplicaCount": 1, "maxReplicaCount": 9},
    {"autoscalingPolicy": {"scaleDownWindow": "1m0s", "scaleToZeroWindow": "5m", "loadTargets": {}}},
    {"autoscalingPolicy": None},
    {"enableAddons": False, "more": 1},
]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
@pytest.mark.parametrize("spec", [SPEC, SHAPED], ids=["accelerators", "shape"])
def test_same_digest_means_no_changes_whatever_the_api_shows(
    spec: dict[str, Any], spelling: dict[str, Any]
) -> None:
    assert changes_since(deployment(spec, **spelling), digest_of(spec), spec) == Changes()


@pytest.mark.parametrize(
    ("name", "value", "note"),
    [
        ("displayName", "mine", "display_name made → mine"),
        ("minReplicaCount", 1, "min_replica_count 0 → 1"),
        ("maxReplicaCount", 5, "max_replica_count 2 → 5"),
        (
            "autoscalingPolicy",
            {"scaleDownWindow": "90s"},
            "autoscaling_policy {'scaleDownWindow': '60s', 'scaleToZeroWindow': '300s'} → {'scaleDownWindow': '90s'}",
        ),
    ],
)
def test_changed_updatable_field_is_update(name: str, value: Any, note: str) -> None:
    now = SPEC | {name: value}
    changes = changes_since(deployment(), digest_of(SPEC), now)
    assert changes.fixed == ()
    # No other field: somebody may have changed it by hand.
    assert changes.updates == {name: value}
    assert changes.notes == (note,)


def test_update_of_snake_case_field_is_sent_in_camel_case() -> None:
    now = {name: value for name, value in SPEC.items() if name != "autoscalingPolicy"}
    now["autoscaling_policy"] = {"scaleDownWindow": "90s"}
    changes = changes_since(deployment(), digest_of(SPEC), now)
    assert changes.updates["autoscalingPolicy"] == {"scaleDownWindow": "90s"}
    assert "autoscaling_policy" not in changes.updates


def test_note_of_field_that_api_does_not_show_says_unset() -> None:
    now = SPEC | {"maxReplicaCount": 5}
    changes = changes_since(deployment(maxReplicaCount=None), digest_of(SPEC), now)
    assert changes.notes == ("max_replica_count unset → 5",)


def test_update_already_made_by_hand_has_no_note() -> None:
    now = SPEC | {"maxReplicaCount": 5}
    changes = changes_since(deployment(maxReplicaCount=5), digest_of(SPEC), now)
    assert (changes.fixed, changes.notes) == ((), ())
    assert changes.updates["maxReplicaCount"] == 5


@pytest.mark.parametrize(
    ("change", "phrases"),
    [
        ({"baseModel": OTHER_MODEL}, [f"base_model {MODEL} → {OTHER_MODEL}"]),
        ({"precision": "FP4"}, ["precision FP8 → FP4"]),
        ({"acceleratorCount": 4}, ["accelerator_count 1 → 4"]),
        (
            {"acceleratorType": "NVIDIA_B200_180GB", "acceleratorCount": 2},
            ["accelerator_type NVIDIA_H100_80GB → NVIDIA_B200_180GB", "accelerator_count 1 → 2"],
        ),
        ({"enableAddons": False}, ["enable_addons True → False"]),
    ],
    ids=str,
)
def test_changed_fixed_fields_are_named_with_old_and_new_value(
    change: dict[str, Any], phrases: list[str]
) -> None:
    changes = changes_since(deployment(), digest_of(SPEC), SPEC | change)
    assert sorted(changes.fixed) == sorted(phrases)
    assert (changes.updates, changes.notes) == ({}, ())


def test_changed_fixed_and_updatable_fields_are_both_reported() -> None:
    changes = changes_since(deployment(), digest_of(SPEC), SPEC | {"precision": "FP4", "displayName": "mine"})
    assert changes.fixed == ("precision FP8 → FP4",)
    assert changes.updates["displayName"] == "mine"
    assert changes.notes == ("display_name made → mine",)


@pytest.mark.parametrize("old", [None, "", "PRECISION_UNSPECIFIED"])
def test_changed_fixed_field_that_api_does_not_show_is_reported(old: str | None) -> None:
    now = SPEC | {"precision": "FP4"}
    changes = changes_since(deployment(precision=old), digest_of(SPEC), now)
    assert any(phrase.startswith("precision ") and phrase.endswith(" → FP4") for phrase in changes.fixed)


@pytest.mark.parametrize(
    ("omitted", "phrases"),
    [
        (["precision"], ("precision FP8 → unset",)),
        (["acceleratorCount"], ("accelerator_count 1 → unset",)),
        (["precision", "acceleratorCount"], ("precision FP8 → unset", "accelerator_count 1 → unset")),
    ],
    ids=str,
)
def test_omitted_fixed_field_is_named(omitted: list[str], phrases: tuple[str, ...]) -> None:
    now = {name: value for name, value in SPEC.items() if name not in omitted}
    assert changes_since(deployment(), digest_of(SPEC), now).fixed == phrases


def test_changed_fixed_field_that_cannot_be_determined_names_all() -> None:
    now = {name: value for name, value in SPEC.items() if name != "enableAddons"}
    changes = changes_since(deployment(), digest_of(SPEC), now)
    assert [phrase.split()[0] for phrase in changes.fixed] == [
        "base_model",
        "precision",
        "accelerator_type",
        "accelerator_count",
    ]


def test_omitted_updatable_field_is_not_updated() -> None:
    now = {name: value for name, value in SPEC.items() if name != "maxReplicaCount"}
    changes = changes_since(deployment(), digest_of(SPEC), now)
    assert (changes.fixed, changes.updates) == ((), {})
    assert changes.notes == ("max_replica_count omitted, not updated",)


# ---- without a digest, as earlier versions signed


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (SPEC, deployment()),
        ({name: value for name, value in SPEC.items() if name != "precision"}, deployment()),
        ({"baseModel": MODEL}, deployment()),
        (SPEC, Deployment()),
        (SPEC, deployment(precision=None)),
        (SPEC, deployment(precision="")),
        (SPEC, deployment(precision="PRECISION_UNSPECIFIED")),
        (SPEC, deployment(acceleratorCount=0, maxReplicaCount=0)),
        (SPEC | {"minReplicaCount": 3}, deployment(minReplicaCount=0)),
        (SPEC, deployment(more=1)),
    ],
    ids=[
        "equal",
        "one omitted",
        "all omitted",
        "none shown",
        "one not shown",
        "one empty",
        "one unspecified",
        "zero for unset",
        "zero replicas",
        "more shown",
    ],
)
def test_no_digest_means_no_changes_unless_set_on_both_sides(now: dict[str, Any], found: Deployment) -> None:
    assert changes_since(found, "", now) == Changes()


@pytest.mark.parametrize(
    ("change", "fixed", "updates"),
    [
        ({"baseModel": OTHER_MODEL}, (f"base_model {MODEL} → {OTHER_MODEL}",), {}),
        ({"precision": "fp8"}, ("precision FP8 → fp8",), {}),
        ({"acceleratorCount": 2, "precision": "FP4"}, ("precision FP8 → FP4", "accelerator_count 1 → 2"), {}),
        ({"maxReplicaCount": 3}, (), {"maxReplicaCount": 3}),
        ({"displayName": "mine"}, (), {"displayName": "mine"}),
        (
            {"displayName": "mine", "baseModel": OTHER_MODEL},
            (f"base_model {MODEL} → {OTHER_MODEL}",),
            {"displayName": "mine"},
        ),
    ],
    ids=str,
)
def test_no_digest_compares_fields_set_on_both_sides(
    change: dict[str, Any], fixed: tuple[str, ...], updates: dict[str, Any]
) -> None:
    changes = changes_since(deployment(), "", SPEC | change)
    assert changes.fixed == fixed
    assert changes.updates == updates
    assert len(changes.notes) == len(updates)


SPECS = st.fixed_dictionaries(
    {"baseModel": st.sampled_from([MODEL, OTHER_MODEL])},
    optional={
        "precision": st.sampled_from(["FP8", "FP4"]),
        "acceleratorCount": st.integers(1, 2),
        "displayName": st.sampled_from(["a", "b"]),
        "maxReplicaCount": st.integers(0, 2),
        "autoscalingPolicy": st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 1)),
        "region": st.sampled_from(["A", "B"]),
    },
)


@given(then=SPECS, now=SPECS, seen=SPECS)
def test_changes_depend_only_on_the_two_requests(
    then: dict[str, Any], now: dict[str, Any], seen: dict[str, Any]
) -> None:
    changes = changes_since(deployment(seen), digest_of(then), now)

    def part(spec: dict[str, Any], *, updatable: bool) -> dict[str, Any]:
        return {name: value for name, value in spec.items() if (name in UPDATABLE) is updatable}

    assert bool(changes.fixed) is (part(then, updatable=False) != part(now, updatable=False))
    before, after = part(then, updatable=True), part(now, updatable=True)
    assert changes.updates == {
        name: value for name, value in after.items() if name not in before or before[name] != value
    }
    assert len(changes.notes) <= len(changes.updates) + len(before.keys() - after.keys())

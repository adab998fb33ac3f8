"""The arguments of each task, as literals while a DAG is parsed and as rendered values when the task starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_fireworks.arguments import (
    UNRESOLVED,
    Arguments,
    CreateArguments,
    DeleteArguments,
    DeploymentReadyArguments,
    ModelReadyArguments,
    PrepareArguments,
    ScaleArguments,
    SweepArguments,
    TimeLimit,
    is_literal,
)
from airflow_provider_fireworks.client.precision import Precision
from airflow_provider_fireworks.client.resources import Model
from airflow_provider_fireworks.exceptions import FireworksInvalidArgument
from airflow_provider_fireworks.models.readiness import Baseline

MODEL = "accounts/demo/models/my-model"
NAME = "accounts/demo/deployments/d"
BASELINE: dict[str, Any] = Baseline.of(Model(state="READY")).after("accepted", 1.75e9).model_dump(mode="json")
PREPARED = {"model": MODEL, "precision": "FP8", "baseline": BASELINE}
READY = {"model": MODEL, "precision": "FP8"}


class Output:
    """The output of another task while a DAG is parsed: nothing may look into it."""

    def _fail(self, *args: object) -> Any:
        raise AssertionError("it must not be looked into")

    __str__ = __bool__ = __iter__ = __len__ = __contains__ = __getitem__ = keys = _fail

    def __repr__(self) -> str:
        return "Output()"


class LazySequence(Sequence[Any]):
    """What Airflow passes for the results of a mapped task: a sequence that is no list."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __repr__(self) -> str:
        return f"LazySequence({len(self.items)} items)"


OUTPUT: Any = Output()
WAIT = {"poll_interval": 30, "timeout": 7200}
# A task's least arguments, by its model.
LEAST: dict[type[Arguments], dict[str, Any]] = {
    PrepareArguments: {"model": "my-model", "precision": "FP8", **WAIT},
    ModelReadyArguments: {"model": "my-model", "precision": "FP8", **WAIT},
    CreateArguments: {"model": "my-model", "accelerator_type": "NVIDIA_H100_80GB", **WAIT},
    DeploymentReadyArguments: {"deployment": "d", **WAIT},
    ScaleArguments: {"deployment": "d", "replica_count": 1, **WAIT},
    DeleteArguments: {"deployment": "d", "timeout": 600},
    SweepArguments: {},
}
Rows = list[tuple[type[Arguments], dict[str, Any], Any]]

PRECISIONS: list[tuple[dict[str, Any], Any]] = [
    ({"accept_precisions": ["FP8_V2", Precision.FP4]}, {"accept_precisions": ["FP8_V2", "FP4"]}),
    ({"accept_precisions": "FP8_V2"}, {"accept_precisions": ["FP8_V2"]}),
    ({"accept_precisions": ()}, {"accept_precisions": []}),
    ({"accept_precisions": None}, {"accept_precisions": []}),
    ({"precision": Precision.FP8}, {"precision": "FP8"}),
    ({"precision": "NEW", "allow_unknown_precision": True}, {"precision": "NEW"}),
    (
        {"precision": "NEW", "accept_precisions": ["NEW_V2"], "allow_unknown_precision": "True"},
        {"allow_unknown_precision": True, "accept_precisions": ["NEW_V2"]},
    ),
    ({"require_confirmation": "true"}, {"require_confirmation": True}),
]
MODELS: list[tuple[dict[str, Any], Any]] = [({"model": MODEL}, {"model": MODEL})]
WAITS: list[tuple[dict[str, Any], Any]] = [
    (
        {"deferrable": "1", "poll_interval": "30", "timeout": "600.5"},
        {"deferrable": True, "poll_interval": 30.0, "timeout": 600.5},
    ),
    (
        {"poll_interval": timedelta(minutes=1), "timeout": timedelta(hours=2)},
        {"poll_interval": 60.0, "timeout": 7200.0},
    ),
    ({"poll_interval": 0, "timeout": 0}, {"poll_interval": 0.0, "timeout": 0.0}),
]
WAITING = [kind for kind in LEAST if kind not in (DeleteArguments, SweepArguments)]

# What is given → the fields that it becomes. Each passes as a literal as well.
GOOD: Rows = [
    *((kind, {"account_id": "demo", "fireworks_conn_id": None}, {"account_id": "demo"}) for kind in LEAST),
    *((kind, *row) for kind in WAITING for row in WAITS),
    *((kind, *row) for kind in (PrepareArguments, ModelReadyArguments) for row in PRECISIONS),
    *((kind, *row) for kind in (PrepareArguments, ModelReadyArguments, CreateArguments) for row in MODELS),
    (PrepareArguments, {"wait_for_completion": "no"}, {"wait_for_completion": False}),
    (ModelReadyArguments, {"baseline": None}, {"baseline": None}),
    (ModelReadyArguments, {"baseline": BASELINE}, {"baseline": Baseline(**BASELINE)}),
    (CreateArguments, {}, {"precision": None, "wait_for_completion": True, "delete_on_failure": True}),
    (CreateArguments, {}, {"wait_for_inference": False, "validate_only": False, "delete_on_kill": None}),
    (CreateArguments, {"precision": Precision.FP8}, {"precision": "FP8"}),
    (CreateArguments, {"precision": "NEWER_THAN_THIS"}, {"precision": "NEWER_THAN_THIS"}),
    (CreateArguments, {"deployment_id": "my-id"}, {"deployment_id": "my-id"}),
    (CreateArguments, {"accelerator_count": "2"}, {"accelerator_count": 2}),
    (CreateArguments, {"min_replica_count": "0", "max_replica_count": 0}, {"min_replica_count": 0}),
    (CreateArguments, {"min_replica_count": 1, "max_replica_count": "1"}, {"max_replica_count": 1}),
    (CreateArguments, {"display_name": "x" * 63}, {"display_name": "x" * 63}),
    (CreateArguments, {"extra_spec": {}}, {"extra_spec": {}}),
    (CreateArguments, {"extra_spec": {"a": {"b": [1, None]}}}, {"extra_spec": {"a": {"b": [1, None]}}}),
    (
        CreateArguments,
        {"accelerator_type": None, "deployment_shape": "default", "precision": "FP8"},
        {"deployment_shape": "default"},
    ),
    (
        CreateArguments,
        {"wait_for_completion": "False", "wait_for_inference": "true", "validate_only": "0"},
        {"wait_for_completion": False, "wait_for_inference": True, "validate_only": False},
    ),
    (
        CreateArguments,
        {"delete_on_failure": "no", "delete_on_kill": "1"},
        {"delete_on_failure": False, "delete_on_kill": True},
    ),
    (DeploymentReadyArguments, {"deployment": NAME}, {"deployment": NAME, "wait_for_inference": False}),
    (DeploymentReadyArguments, {"wait_for_inference": "yes"}, {"wait_for_inference": True}),
    (ScaleArguments, {"replica_count": 0}, {"replica_count": 0, "wait_for_completion": False}),
    (ScaleArguments, {"replica_count": "3", "wait_for_completion": "True"}, {"replica_count": 3}),
    (DeleteArguments, {}, {"hard": False, "ignore_checks": None, "timeout": 600.0}),
    (DeleteArguments, {"hard": "True", "ignore_checks": "false"}, {"hard": True, "ignore_checks": False}),
    (DeleteArguments, {"timeout": timedelta(minutes=1)}, {"timeout": 60.0}),
    (SweepArguments, {}, {"delete": False, "keep": [], "include_kept": False, "ignore_checks": False}),
    (SweepArguments, {"delete": "true", "include_kept": "yes"}, {"delete": True, "include_kept": True}),
    *((SweepArguments, {"keep": keep}, {"keep": ["d"]}) for keep in ("d", ["d"], ("d",), ["d", None])),
    (SweepArguments, {"keep": ["d", NAME]}, {"keep": ["d", NAME]}),
]


def row_id(value: Any) -> str | None:
    """Return what names a row of a table."""
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, Iterator):
        return type(value).__name__
    return value[:60] if isinstance(value, str) else repr(value)[:60]


@pytest.mark.parametrize(("kind", "given", "expected"), GOOD, ids=row_id)
def test_arguments_that_are_valid_pass_as_literals_and_rendered(
    kind: type[Arguments], given: dict[str, Any], expected: dict[str, Any]
) -> None:
    kind.check_literals(**LEAST[kind] | given)
    arguments = kind.check(**LEAST[kind] | given)
    found = {name: getattr(arguments, name) for name in expected}
    assert found == expected
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in expected.items()
    }


EXPAND = r"\.partial\(…\)\.expand\(precision=\[…\]\)"
NO_MODEL: list[tuple[dict[str, Any], str]] = [
    ({"model": "My Model"}, "'My Model' is no model id"),
    ({"model": ""}, "is no model"),
    ({"model": NAME}, "is no model"),
    ({"model": "a/../b"}, "is no model"),
    ({"model": "None"}, "'None' is no model id"),
]
NO_PRECISION: list[tuple[dict[str, Any], str]] = [
    ({"precision": "fp8"}, "Did you mean 'FP8'"),
    ({"precision": "NEW"}, "'NEW' is no precision"),
    ({"precision": "['FP8', 'FP4']"}, "is no precision"),
    ({"precision": ""}, "'' is no precision"),
    ({"precision": 8}, "precision: .*8"),
    ({"precision": {"a": 1}}, "precision: "),
    ({"accept_precisions": ["FP8", "fp4"]}, "Did you mean 'FP4'"),
    ({"accept_precisions": "x"}, "'x' is no precision"),
    ({"accept_precisions": [8]}, r"accept_precisions\.0: "),
    ({"accept_precisions": {"FP8": 1}}, "accept_precisions: "),
    ({"accept_precisions": 8}, "accept_precisions: "),
    ({"precision": "not a name", "allow_unknown_precision": True}, "'not a name' is no precision"),
    ({"precision": "PRECISION_UNSPECIFIED", "allow_unknown_precision": True}, "is no precision"),
    ({"allow_unknown_precision": "perhaps"}, "allow_unknown_precision: .*'perhaps'"),
    ({"require_confirmation": "perhaps"}, "require_confirmation: .*'perhaps'"),
]
SEVERAL = [
    *(["FP8"], ["FP8", "FP4"], ("FP8", "FP4"), {"FP8"}, [], [Precision.FP8]),
]
NO_WAIT: list[tuple[dict[str, Any], str]] = [
    ({"timeout": -1}, "timeout: "),
    ({"timeout": "soon"}, "timeout: .*not 'soon'"),
    ({"timeout": "inf"}, "timeout: "),
    ({"timeout": float("nan")}, "timeout: "),
    ({"timeout": timedelta(seconds=-1)}, "timeout: "),
    ({"timeout": None}, "timeout: "),
    ({"poll_interval": ""}, "poll_interval: "),
    ({"poll_interval": "-0.1"}, "poll_interval: "),
    ({"poll_interval": None}, "poll_interval: "),
    ({"deferrable": "perhaps"}, "deferrable: .*not 'perhaps'"),
    ({"deferrable": None}, "deferrable: "),
]
NO_DEPLOYMENT: list[tuple[dict[str, Any], str]] = [
    ({"deployment": ""}, "is no deployment"),
    ({"deployment": "My_Id"}, "'My_Id' is no deployment id"),
    ({"deployment": "a/b"}, "is no deployment"),
    ({"deployment": MODEL}, "is no deployment"),
    ({"deployment": "a?b"}, "is no deployment"),
    ({"deployment": "None"}, "'None' is no deployment id"),
    ({"deployment": 5}, "deployment: .*5"),
]
NO_COUNT: list[tuple[Any, str]] = [
    (-1, "-1"),
    ("-1", "'-1'"),
    ("two", "'two'"),
    ("", "''"),
    ("1.5", "'1.5'"),
    (1.5, "a whole number is needed, not 1.5"),
    (2.0, "a whole number is needed, not 2.0"),
    (True, "a whole number is needed, not True"),
    ([1], r"\[1\]"),
]
EXTRAS = {
    "baseModel": "model",
    "precision": "precision",
    "acceleratorType": "accelerator_type",
    "acceleratorCount": "accelerator_count",
    "deploymentShape": "deployment_shape",
    "minReplicaCount": "min_replica_count",
    "max_replica_count": "max_replica_count",
    "displayName": "display_name",
    "display_name": "display_name",
    "deploymentId": "deployment_id",
    "name": "deployment_id",
}
NEEDS_ONE = "accelerator_type or deployment_shape: one of them is needed"

# What is refused → what the message says. The same as a literal and when rendered.
REFUSED: Rows = [
    *((kind, {"pool_interval": 5}, "pool_interval: ") for kind in LEAST),
    *((kind, {"account_id": 5}, "account_id: ") for kind in LEAST),
    *((kind, {"fireworks_conn_id": 5}, "fireworks_conn_id: ") for kind in LEAST),
    *((kind, *row) for kind in WAITING for row in NO_WAIT),
    *((kind, *row) for kind in (PrepareArguments, ModelReadyArguments, CreateArguments) for row in NO_MODEL),
    *((kind, *row) for kind in (PrepareArguments, ModelReadyArguments) for row in NO_PRECISION),
    *(
        (kind, {"precision": several}, EXPAND)
        for kind in (PrepareArguments, ModelReadyArguments, CreateArguments)
        for several in SEVERAL
    ),
    (PrepareArguments, {"model": None}, "model: "),
    (PrepareArguments, {"precision": None}, "precision: "),
    (PrepareArguments, {"wait_for_completion": "perhaps"}, "wait_for_completion: .*'perhaps'"),
    (PrepareArguments, {"prepared": PREPARED}, "prepared: "),
    (CreateArguments, {"precision": "FP 8"}, "'FP 8' is no precision"),
    (CreateArguments, {"deployment_id": "My_Id"}, "'My_Id' is no deployment_id"),
    (CreateArguments, {"deployment_id": NAME}, "is no deployment_id"),
    (CreateArguments, {"deployment_id": ""}, "is no deployment_id"),
    (CreateArguments, {"accelerator_type": None}, NEEDS_ONE),
    (CreateArguments, {"accelerator_type": None, "accelerator_count": 2}, NEEDS_ONE),
    (CreateArguments, {"accelerator_type": ""}, "accelerator_type: "),
    (CreateArguments, {"accelerator_type": None, "deployment_shape": ""}, "deployment_shape: "),
    (CreateArguments, {"deployment_shape": "s"}, "deployment_shape cannot be combined with"),
    (
        CreateArguments,
        {"accelerator_type": None, "accelerator_count": 1, "deployment_shape": "s"},
        "deployment_shape cannot be combined with",
    ),
    (CreateArguments, {"accelerator_count": 0}, "accelerator_count: "),
    *(
        (CreateArguments, {count: value}, f"{count}: .*{told}")
        for count in ("accelerator_count", "min_replica_count", "max_replica_count")
        for value, told in NO_COUNT
    ),
    (
        CreateArguments,
        {"min_replica_count": 3, "max_replica_count": "2"},
        "min_replica_count is 3, more than max_replica_count, which is 2",
    ),
    (CreateArguments, {"display_name": "x" * 64}, "display_name: .*63"),
    (CreateArguments, {"display_name": 5}, "display_name: "),
    (CreateArguments, {"extra_spec": "{}"}, "extra_spec: "),
    (CreateArguments, {"extra_spec": ["a"]}, "extra_spec: "),
    (CreateArguments, {"extra_spec": {"x": float("nan")}}, "extra_spec is not valid JSON"),
    *(
        (CreateArguments, {"extra_spec": {field: "x"}}, f"extra_spec: {field} .*give {argument}")
        for field, argument in EXTRAS.items()
    ),
    (
        CreateArguments,
        {"extra_spec": {"description": "mine"}},
        "extra_spec: description .*the operator writes it",
    ),
    *(
        (CreateArguments, {flag: "perhaps"}, f"{flag}: .*'perhaps'")
        for flag in (
            "wait_for_completion",
            "wait_for_inference",
            "delete_on_failure",
            "delete_on_kill",
            "validate_only",
        )
    ),
    *(
        (kind, *row)
        for kind in (DeploymentReadyArguments, ScaleArguments, DeleteArguments)
        for row in NO_DEPLOYMENT
    ),
    (DeploymentReadyArguments, {"deployment": None}, "deployment: "),
    (DeploymentReadyArguments, {"deployment": ["d"]}, "deployment: "),
    (DeploymentReadyArguments, {"wait_for_inference": "perhaps"}, "wait_for_inference: "),
    (ScaleArguments, {"deployment": None}, "deployment: "),
    (ScaleArguments, {"replica_count": None}, "replica_count: "),
    *((ScaleArguments, {"replica_count": value}, f"replica_count: .*{told}") for value, told in NO_COUNT),
    (ScaleArguments, {"wait_for_completion": "perhaps"}, "wait_for_completion: "),
    (DeleteArguments, {"deployment": ["d", "My_Id"]}, r"deployment\.1: .*'My_Id' is no deployment id"),
    (DeleteArguments, {"deployment": ["d", 5]}, r"deployment\.1: "),
    (DeleteArguments, {"deployment": {"deployment": "d"}}, "deployment: "),
    (DeleteArguments, {"deployment": "['d', 'e']"}, "is no deployment"),
    (DeleteArguments, {"hard": "perhaps"}, "hard: "),
    (DeleteArguments, {"ignore_checks": "perhaps"}, "ignore_checks: "),
    (DeleteArguments, {"timeout": "soon"}, "timeout: .*'soon'"),
    (DeleteArguments, {"timeout": None}, "timeout: "),
    (SweepArguments, {"keep": "a,b"}, "is no deployment"),
    (SweepArguments, {"keep": ["d", 5]}, r"keep\.1: "),
    (SweepArguments, {"keep": {"d": 1}}, "keep: "),
    (SweepArguments, {"keep": None}, "keep: "),
    (SweepArguments, {"delete": "perhaps"}, "delete: "),
    (SweepArguments, {"include_kept": "perhaps"}, "include_kept: "),
    (SweepArguments, {"ignore_checks": "perhaps"}, "ignore_checks: "),
    (SweepArguments, {"ignore_checks": None}, "ignore_checks: "),
]


@pytest.mark.parametrize(("kind", "given", "told"), REFUSED, ids=row_id)
def test_argument_that_is_invalid_is_refused_as_literal_and_rendered(
    kind: type[Arguments], given: dict[str, Any], told: str
) -> None:
    with pytest.raises(FireworksInvalidArgument, match=told):
        kind.check_literals(**LEAST[kind] | given)
    with pytest.raises(FireworksInvalidArgument, match=told):
        kind.check(**LEAST[kind] | given)


def test_check_names_everything_that_is_invalid_at_once() -> None:
    wrong = LEAST[ScaleArguments] | {"timeout": "soon", "replica_count": -1, "deployment": "My_Id"}
    for check in (ScaleArguments.check, ScaleArguments.check_literals):
        with pytest.raises(FireworksInvalidArgument) as refused:
            check(**wrong)
        for name in ("timeout: ", "replica_count: ", "deployment: "):
            assert name in str(refused.value)


@pytest.mark.parametrize("wrong", ["a\nb", "\x1b[31m", "\ud800", "x" * 100_000], ids=repr)
def test_refusal_is_one_printable_line_whatever_was_given(wrong: str) -> None:
    with pytest.raises(FireworksInvalidArgument) as refused:
        CreateArguments.check(**LEAST[CreateArguments] | {"model": wrong, "timeout": wrong})
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) <= 4000


@pytest.mark.parametrize("value", [{1, 2}, object(), b"x"], ids=["a set", "an object", "bytes"])
def test_extra_spec_that_is_no_json_is_refused_when_rendered(value: object) -> None:
    with pytest.raises(FireworksInvalidArgument, match="extra_spec is not valid JSON"):
        CreateArguments.check(**LEAST[CreateArguments] | {"extra_spec": {"x": value}})


def test_extra_spec_without_end_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["x"] = endless
    with pytest.raises(FireworksInvalidArgument, match="extra_spec is not valid JSON: Circular"):
        CreateArguments.check(**LEAST[CreateArguments] | {"extra_spec": endless})


# ---- what is not known while a DAG is parsed


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        (None, True),
        ("text", True),
        ("", True),
        (5, True),
        (1.5, True),
        (False, True),
        (timedelta(1), True),
        (Precision.FP8, True),
        (["a", ("b", {"c"})], True),
        ({"a": {"b": [1]}}, True),
        ("{{ x }}", False),
        ("a {% if x %}b{% endif %}", False),
        (["a", "{{ x }}"], False),
        ({"a": {"b": ["{{ x }}"]}}, False),
        (OUTPUT, False),
        ([OUTPUT], False),
        ((item for item in "ab"), False),
        (LazySequence("a"), False),
    ],
    ids=row_id,
)
def test_is_literal_knows_templates_and_outputs(value: Any, literal: bool) -> None:
    assert is_literal(value) is literal


UNKNOWN = [
    pytest.param("{{ params.x }}", id="a template"),
    pytest.param("{% if x %}y{% endif %}", id="a block of a template"),
    pytest.param(OUTPUT, id="an output"),
    pytest.param([OUTPUT], id="an output in a list"),
    pytest.param(["{{ x }}", "y"], id="a template in a list"),
    pytest.param({"x": "{{ x }}"}, id="a template in a dict"),
]


@pytest.mark.parametrize("unknown", UNKNOWN)
@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in LEAST for name in kind.model_fields],
    ids=row_id,
)
def test_argument_not_known_yet_passes_as_literal(kind: type[Arguments], name: str, unknown: Any) -> None:
    kind.check_literals(**LEAST[kind] | {name: unknown})


@pytest.mark.parametrize("kind", LEAST, ids=row_id)
def test_arguments_that_are_all_unknown_pass_as_literals(kind: type[Arguments]) -> None:
    kind.check_literals(**dict.fromkeys(kind.model_fields, OUTPUT))
    kind.check_literals(**dict.fromkeys(kind.model_fields, "{{ x }}"))


@pytest.mark.parametrize("prepared", [OUTPUT, "{{ x }}", {"model": "{{ x }}", "precision": "FP8"}], ids=repr)
@pytest.mark.parametrize("kind", [ModelReadyArguments, CreateArguments], ids=row_id)
def test_prepared_not_known_yet_passes_as_literal(kind: type[Arguments], prepared: Any) -> None:
    kind.check_literals(**LEAST[kind] | {"model": None, "precision": None, "prepared": prepared})


@pytest.mark.parametrize(
    "given",
    [
        {"deployment_shape": OUTPUT},
        {"deployment_shape": "{{ x }}", "accelerator_count": 1},
        {"deployment_shape": "s", "accelerator_type": OUTPUT},
        {"deployment_shape": "s", "accelerator_type": None, "accelerator_count": OUTPUT},
        {"accelerator_type": OUTPUT},
        {"accelerator_type": None, "deployment_shape": OUTPUT},
        {"min_replica_count": 5, "max_replica_count": OUTPUT},
        {"min_replica_count": "{{ a }}", "max_replica_count": 1},
        {"display_name": "{{ " + "x" * 70 + " }}"},
        {"extra_spec": {"baseModel": "{{ x }}"}},
    ],
    ids=str,
)
def test_create_arguments_compared_with_unknown_ones_pass(given: dict[str, Any]) -> None:
    CreateArguments.check_literals(**LEAST[CreateArguments] | given)


@pytest.mark.parametrize("kind", [PrepareArguments, ModelReadyArguments], ids=row_id)
@pytest.mark.parametrize(
    "given",
    [
        {"precision": "NEW", "allow_unknown_precision": "{{ x }}"},
        {"precision": "NEW", "allow_unknown_precision": OUTPUT},
        {"precision": OUTPUT, "accept_precisions": ["FP8"]},
        {"accept_precisions": ["FP8", "{{ params.p }}"]},
    ],
    ids=str,
)
def test_precision_that_may_be_allowed_passes_as_literal(
    kind: type[Arguments], given: dict[str, Any]
) -> None:
    kind.check_literals(**LEAST[kind] | given)


def test_literals_beside_unknown_ones_are_still_checked() -> None:
    with pytest.raises(FireworksInvalidArgument, match="'fp8' is no precision"):
        PrepareArguments.check_literals(
            model=OUTPUT, precision=OUTPUT, accept_precisions=["fp8"], poll_interval=OUTPUT, timeout=OUTPUT
        )
    with pytest.raises(FireworksInvalidArgument, match="replica_count: "):
        ScaleArguments.check_literals(**dict.fromkeys(LEAST[ScaleArguments], OUTPUT) | {"replica_count": -1})


def test_unresolved_shows_itself_as_such() -> None:
    assert repr(UNRESOLVED) == "<not resolved yet>"


# ---- prepared


PREPARING: list[type[ModelReadyArguments] | type[CreateArguments]] = [ModelReadyArguments, CreateArguments]


def with_prepared(kind: type[Arguments], prepared: Any, **fields: Any) -> dict[str, Any]:
    """Return the least arguments with ``prepared`` instead of model and precision."""
    return LEAST[kind] | {"model": None, "precision": None, "prepared": prepared} | fields


@pytest.mark.parametrize("kind", PREPARING, ids=row_id)
@pytest.mark.parametrize("prepared", [PREPARED, READY], ids=["of the operator", "of the sensor"])
def test_prepared_is_unpacked(
    kind: type[ModelReadyArguments] | type[CreateArguments], prepared: dict[str, Any]
) -> None:
    before = dict(prepared)
    kind.check_literals(**with_prepared(kind, prepared))
    arguments = kind.check(**with_prepared(kind, prepared))
    assert (arguments.model, arguments.precision) == (MODEL, "FP8")
    if isinstance(arguments, ModelReadyArguments):
        assert arguments.baseline == (Baseline(**BASELINE) if "baseline" in prepared else None)
    assert prepared == before


def test_prepared_without_a_baseline_in_it_is_unpacked() -> None:
    arguments = ModelReadyArguments.check(**with_prepared(ModelReadyArguments, PREPARED | {"baseline": None}))
    assert arguments.baseline is None


@pytest.mark.parametrize("kind", PREPARING, ids=row_id)
@pytest.mark.parametrize(
    "prepared", [PREPARED, "{{ x }}", OUTPUT], ids=["a result", "a template", "an output"]
)
@pytest.mark.parametrize("own", [{"model": "my-model"}, {"precision": "FP8"}, dict(READY)], ids=str)
def test_prepared_beside_what_it_brings_is_refused(
    kind: type[Arguments], prepared: Any, own: dict[str, Any]
) -> None:
    told = f"prepared goes without {' and '.join(own)}: it brings its own"
    with pytest.raises(FireworksInvalidArgument, match=told):
        kind.check_literals(**with_prepared(kind, prepared, **own))
    with pytest.raises(FireworksInvalidArgument, match=told):
        kind.check(**with_prepared(kind, PREPARED, **own))


def test_prepared_beside_a_baseline_is_refused() -> None:
    given = with_prepared(ModelReadyArguments, PREPARED, baseline=BASELINE)
    for check in (ModelReadyArguments.check, ModelReadyArguments.check_literals):
        with pytest.raises(FireworksInvalidArgument, match="prepared goes without baseline"):
            check(**given)


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        (ModelReadyArguments, {}, "model and precision missing: give model and precision, or prepared="),
        (ModelReadyArguments, {"model": "m"}, "^precision missing: give model and precision, or prepared="),
        (ModelReadyArguments, {"precision": "FP8"}, "^model missing: .*or prepared=prepare.output"),
        (ModelReadyArguments, {"baseline": BASELINE}, "model and precision missing: "),
        (CreateArguments, {}, "model missing: give model, or prepared=prepare.output"),
        (CreateArguments, {"precision": "FP8"}, "model missing: give model, or prepared=prepare.output"),
    ],
    ids=row_id,
)
def test_neither_prepared_nor_what_it_brings_is_refused(
    kind: type[Arguments], given: dict[str, Any], told: str
) -> None:
    for check in (kind.check, kind.check_literals):
        with pytest.raises(FireworksInvalidArgument, match=told):
            check(**with_prepared(kind, None, **given))


@pytest.mark.parametrize("kind", PREPARING, ids=row_id)
@pytest.mark.parametrize("several", [[PREPARED, PREPARED], [PREPARED], [], (READY,)], ids=row_id)
def test_prepared_with_several_results_shows_expand(kind: type[Arguments], several: Any) -> None:
    told = r"several results; map over them: \.partial\(…\)\.expand\(prepared=prepare\.output\)"
    for check in (kind.check, kind.check_literals):
        with pytest.raises(FireworksInvalidArgument, match=told):
            check(**with_prepared(kind, several))


@pytest.mark.parametrize("kind", PREPARING, ids=row_id)
def test_prepared_with_lazy_results_shows_expand(kind: type[Arguments]) -> None:
    for several in (LazySequence(PREPARED, PREPARED), iter([PREPARED])):
        with pytest.raises(FireworksInvalidArgument, match=r"\.expand\(prepared=prepare\.output\)"):
            kind.check(**with_prepared(kind, several))


@pytest.mark.parametrize("kind", PREPARING, ids=row_id)
@pytest.mark.parametrize(
    "prepared",
    [
        "my-model",
        "",
        str(PREPARED),
        {},
        BASELINE,
        {"model": MODEL},
        {"precision": "FP8"},
        {"model": MODEL, "baseline": BASELINE},
        PREPARED | {"more": 1},
        {"deployment": NAME},
        5,
        True,
    ],
    ids=row_id,
)
def test_prepared_that_is_no_result_is_refused_by_name(kind: type[Arguments], prepared: Any) -> None:
    told = "invalid prepared .*: pass the whole result of FireworksPrepareModelOperator or FireworksModelReadySensor"
    for check in (kind.check, kind.check_literals):
        with pytest.raises(FireworksInvalidArgument, match=told) as refused:
            check(**with_prepared(kind, prepared))
        assert "prepare.output" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": "My Model"}, "'My Model' is no model id"),
        ({"model": None}, "model: "),
        ({"precision": "fp8"}, "Did you mean 'FP8'"),
        ({"precision": ["FP8", "FP4"]}, EXPAND),
        ({"baseline": "x"}, "baseline: invalid baseline"),
        ({"baseline": {}}, "baseline: invalid baseline"),
        ({"baseline": BASELINE | {"posted": "perhaps"}}, r"baseline\.posted: "),
    ],
    ids=str,
)
def test_prepared_with_invalid_content_is_refused(change: dict[str, Any], told: str) -> None:
    for check in (ModelReadyArguments.check, ModelReadyArguments.check_literals):
        with pytest.raises(FireworksInvalidArgument, match=told):
            check(**with_prepared(ModelReadyArguments, PREPARED | change))


def test_prepared_with_a_newer_precision_needs_to_be_allowed() -> None:
    given = with_prepared(ModelReadyArguments, PREPARED | {"precision": "INT8"})
    with pytest.raises(FireworksInvalidArgument, match="'INT8' is no precision"):
        ModelReadyArguments.check(**given)
    assert ModelReadyArguments.check(**given, allow_unknown_precision=True).precision == "INT8"
    # The create operator has no such argument: the task that prepared has allowed it.
    assert (
        CreateArguments.check(**with_prepared(CreateArguments, READY | {"precision": "INT8"})).precision
        == "INT8"
    )


# ---- baseline


@pytest.mark.parametrize(
    "baseline",
    [
        PREPARED,
        READY,
        {},
        {"state": "READY"},
        BASELINE | {"more": 1},
        {name: value for name, value in BASELINE.items() if name != "posted_at"},
        {"deployment": NAME},
        "READY",
        str(BASELINE),
        [BASELINE],
        5,
    ],
    ids=row_id,
)
def test_baseline_that_is_none_of_the_prepare_operator_is_refused(baseline: Any) -> None:
    given = LEAST[ModelReadyArguments] | {"baseline": baseline}
    for check in (ModelReadyArguments.check, ModelReadyArguments.check_literals):
        with pytest.raises(FireworksInvalidArgument, match="baseline: invalid baseline") as refused:
            check(**given)
        assert "prepared=prepare.output" in str(refused.value)


@pytest.mark.parametrize(
    "change", [{"state": None}, {"posted": "perhaps"}, {"posted_at": "soon"}, {"precisions": "FP8"}], ids=str
)
def test_baseline_with_invalid_values_is_refused_by_name(change: dict[str, Any]) -> None:
    (name,) = change
    for check in (ModelReadyArguments.check, ModelReadyArguments.check_literals):
        with pytest.raises(FireworksInvalidArgument, match=rf"baseline\.{name}: "):
            check(**LEAST[ModelReadyArguments] | {"baseline": BASELINE | change})


# ---- what is deleted


def generated() -> Iterator[str | None]:
    """Return names one by one, as a person's own generator does."""
    yield from ("d", None, "e")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("d", ["d"]),
        (NAME, [NAME]),
        (["d"], ["d"]),
        (["d", NAME], ["d", NAME]),
        (("d", "e"), ["d", "e"]),
        ({"d"}, ["d"]),
        (["d", None, "e"], ["d", "e"]),
        ([None], []),
        ([None, None], []),
        ([], []),
        (None, []),
        (generated(), ["d", "e"]),
        (iter([]), []),
        (LazySequence("d", None, "e"), ["d", "e"]),
        (LazySequence(), []),
        (map(str.lower, ["D"]), ["d"]),
    ],
    ids=row_id,
)
def test_delete_takes_one_name_any_number_or_none(given: Any, names: list[str]) -> None:
    # First as a literal: parsing must not use a generator up.
    DeleteArguments.check_literals(deployment=given, timeout=600)
    assert DeleteArguments.check(deployment=given, timeout=600).deployment == names


@pytest.mark.parametrize("given", [LazySequence("d", "My_Id"), (name for name in ("d", "My_Id"))], ids=row_id)
def test_delete_names_what_is_invalid_in_a_lazy_sequence(given: Any) -> None:
    with pytest.raises(FireworksInvalidArgument, match=r"deployment\.1: .*'My_Id'"):
        DeleteArguments.check(deployment=given, timeout=600)


# ---- what is derived from the arguments


@pytest.mark.parametrize("kind", WAITING, ids=row_id)
@pytest.mark.parametrize(
    ("execution_timeout", "limit"),
    [
        (None, TimeLimit("timeout", 7200)),
        (timedelta(hours=2), TimeLimit("timeout", 7200)),
        (timedelta(hours=3), TimeLimit("timeout", 7200)),
        (timedelta(hours=2) - timedelta(seconds=1), TimeLimit("execution_timeout", 7199)),
        (timedelta(), TimeLimit("execution_timeout", 0)),
    ],
    ids=str,
)
def test_time_limit_is_the_smaller_of_the_two(
    kind: Any, execution_timeout: timedelta | None, limit: TimeLimit
) -> None:
    assert kind.check(**LEAST[kind]).time_limit(execution_timeout) == limit


@pytest.mark.parametrize("on_failure", [False, True])
@pytest.mark.parametrize("on_kill", [None, False, True])
def test_delete_on_kill_unset_means_as_delete_on_failure(on_failure: bool, on_kill: bool | None) -> None:
    arguments = CreateArguments.check(
        **LEAST[CreateArguments], delete_on_failure=on_failure, delete_on_kill=on_kill
    )
    assert arguments.deletes_on_kill is (on_failure if on_kill is None else on_kill)


def test_arguments_of_two_tasks_share_no_list() -> None:
    ModelReadyArguments.check(**LEAST[ModelReadyArguments]).accept_precisions.append("x")
    assert ModelReadyArguments.check(**LEAST[ModelReadyArguments]).accept_precisions == []
    SweepArguments.check().keep.append("x")
    assert SweepArguments.check().keep == []


def spec(**fields: Any) -> dict[str, Any]:
    """Return what is requested for the least arguments and these."""
    return CreateArguments.check(**LEAST[CreateArguments] | fields).spec(
        base_model=MODEL, display_name="made"
    )


def test_spec_of_the_least_arguments_has_a_minimum_of_zero() -> None:
    assert spec() == {
        "baseModel": MODEL,
        "displayName": "made",
        "acceleratorType": "NVIDIA_H100_80GB",
        "minReplicaCount": 0,
    }


def test_spec_of_all_arguments_has_all_fields() -> None:
    asked = spec(
        precision="FP8",
        accelerator_count=2,
        min_replica_count=1,
        max_replica_count=3,
        display_name="mine",
        extra_spec={"autoscalingPolicy": {"scaleDownWindow": "60s"}},
    )
    assert asked == {
        "baseModel": MODEL,
        "displayName": "mine",
        "precision": "FP8",
        "acceleratorType": "NVIDIA_H100_80GB",
        "acceleratorCount": 2,
        "minReplicaCount": 1,
        "maxReplicaCount": 3,
        "autoscalingPolicy": {"scaleDownWindow": "60s"},
    }


def test_spec_with_zero_replicas_keeps_the_zeros() -> None:
    asked = spec(min_replica_count=0, max_replica_count=0)
    assert (asked["minReplicaCount"], asked["maxReplicaCount"]) == (0, 0)


def test_spec_with_shape_leaves_precision_and_accelerators_out() -> None:
    asked = spec(accelerator_type=None, deployment_shape="default", precision="FP8")
    assert asked["deploymentShape"] == "default"
    assert not {"precision", "acceleratorType", "acceleratorCount"} & set(asked)


def test_spec_does_not_change_the_extra_fields_given() -> None:
    extra = {"autoscalingPolicy": {"scaleDownWindow": "60s"}}
    spec(extra_spec=extra)["x"] = 1
    assert extra == {"autoscalingPolicy": {"scaleDownWindow": "60s"}}

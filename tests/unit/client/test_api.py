from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.client.api import (
    PAGE_SIZE,
    Request,
    ask_deployment,
    create_deployment,
    delete_deployment,
    get_deployment,
    get_model,
    list_accounts,
    list_deployments,
    list_models,
    match_deployment_shapes,
    prepare_model,
    scale_deployment,
    undelete_deployment,
    update_deployment,
)
from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    NoResponseError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from airflow_provider_fireworks.client.names import DeploymentName, InvalidNameError, ModelName
from airflow_provider_fireworks.client.resources import Account, Deployment, Model

NAME = ModelName("demo", "my-model")
DEPLOYMENT = DeploymentName("demo", "d")
ALL = "v1/accounts/demo/deployments"
ONE = f"{ALL}/d"
NOW = 1_750_000_000.0


def answered(request: Request, answer: object, status: int = 200, **headers: str):
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    lower = {name.replace("_", "-"): value for name, value in headers.items()}
    return request.result(status, lower, body, now=NOW)


@pytest.mark.parametrize(
    ("request", "wire", "writes"),
    [
        pytest.param(
            get_model(NAME),
            ("GET", "v1/accounts/demo/models/my-model", {}, None),
            False,
            id="get a model",
        ),
        pytest.param(
            prepare_model(NAME, "FP8"),
            ("POST", "v1/accounts/demo/models/my-model:prepare", {}, {"precision": "FP8"}),
            True,
            id="prepare a model",
        ),
        pytest.param(
            next(list_models("demo")),
            ("GET", "v1/accounts/demo/models", {"pageSize": "200"}, None),
            False,
            id="list models",
        ),
        pytest.param(
            next(list_models("demo", filter='state="READY" & x')),
            ("GET", "v1/accounts/demo/models", {"pageSize": "200", "filter": 'state="READY" & x'}, None),
            False,
            id="list some models",
        ),
        pytest.param(
            next(list_accounts()),
            ("GET", "v1/accounts", {"pageSize": "200"}, None),
            False,
            id="list accounts",
        ),
        pytest.param(
            create_deployment(DEPLOYMENT, {"baseModel": "m"}),
            ("POST", ALL, {"deploymentId": "d"}, {"baseModel": "m"}),
            True,
            id="create a deployment",
        ),
        pytest.param(
            create_deployment(DEPLOYMENT, {"baseModel": "m"}, validate_only=True),
            ("POST", ALL, {"deploymentId": "d", "validateOnly": "true"}, {"baseModel": "m"}),
            False,
            id="have a deployment judged",
        ),
        pytest.param(get_deployment(DEPLOYMENT), ("GET", ONE, {}, None), False, id="get a deployment"),
        pytest.param(
            next(list_deployments("demo")),
            ("GET", ALL, {"pageSize": "200"}, None),
            False,
            id="list deployments",
        ),
        pytest.param(
            next(list_deployments("demo", filter='state="READY"', show_deleted=True)),
            ("GET", ALL, {"pageSize": "200", "filter": 'state="READY"', "showDeleted": "true"}, None),
            False,
            id="list some deployments, deleted ones too",
        ),
        pytest.param(
            update_deployment(DEPLOYMENT, {"displayName": "x"}, base_model="m"),
            ("PATCH", ONE, {"updateMask": "display_name"}, {"baseModel": "m", "displayName": "x"}),
            True,
            id="update a deployment",
        ),
        pytest.param(
            update_deployment(
                DEPLOYMENT,
                {"description": "x", "maxReplicaCount": 2, "maxWithRevocableReplicaCount": 0},
                base_model="m",
            ),
            (
                "PATCH",
                ONE,
                {"updateMask": "description,max_replica_count,max_with_revocable_replica_count"},
                {
                    "baseModel": "m",
                    "description": "x",
                    "maxReplicaCount": 2,
                    "maxWithRevocableReplicaCount": 0,
                },
            ),
            True,
            id="update several fields, unset values too",
        ),
        pytest.param(
            scale_deployment(DEPLOYMENT, 0),
            ("PATCH", f"{ONE}:scale", {}, {"replicaCount": 0}),
            True,
            id="scale a deployment",
        ),
        pytest.param(delete_deployment(DEPLOYMENT), ("DELETE", ONE, {}, None), True, id="delete softly"),
        pytest.param(
            delete_deployment(DEPLOYMENT, hard=True, ignore_checks=True),
            ("DELETE", ONE, {"hard": "true", "ignoreChecks": "true"}, None),
            True,
            id="delete for good, whatever it serves",
        ),
        pytest.param(
            undelete_deployment(DEPLOYMENT), ("POST", f"{ONE}:undelete", {}, {}), True, id="undelete"
        ),
        pytest.param(
            match_deployment_shapes("demo", NAME),
            (
                "POST",
                "v1/accounts/demo/deploymentShapeVersions:match",
                {},
                {
                    "createDeploymentRequest": {
                        "parent": "accounts/demo",
                        "deployment": {"baseModel": str(NAME)},
                    }
                },
            ),
            False,
            id="match shapes",
        ),
        pytest.param(
            ask_deployment(f"{NAME}#{DEPLOYMENT}"),
            (
                "POST",
                "inference/v1/chat/completions",
                {},
                {
                    "model": "accounts/demo/models/my-model#accounts/demo/deployments/d",
                    "messages": [{"role": "user", "content": "ping"}],
                    "max_tokens": 1,
                },
            ),
            False,
            id="ask a deployment for one token",
        ),
    ],
)
def test_what_goes_over_the_wire(request, wire, writes):
    assert (request.verb, request.path, dict(request.query), request.body) == wire
    assert request.writes is writes
    assert str(request) == f"{wire[0]} /{wire[1]}"


def test_a_list_asks_for_the_most_that_a_page_holds():
    assert PAGE_SIZE == 200


def test_models_of_what_is_no_account_are_not_asked_for():
    with pytest.raises(InvalidNameError):
        next(list_models("../x"))


def test_a_model_is_read():
    model = answered(get_model(NAME), {"name": str(NAME), "state": "READY", "supportedPrecisions": ["FP16"]})
    assert (model.name, model.state, model.supported_precisions) == (str(NAME), "READY", ["FP16"])


@pytest.mark.parametrize("answer", [{}, {"precision": "FP8"}, {"anything": [1]}])
@pytest.mark.parametrize("status", [200, 201, 202, 299])
def test_a_preparation_brings_nothing_back(answer, status):
    assert answered(prepare_model(NAME, "FP8"), answer, status) is None


UNREADABLE = {
    "nothing": b"",
    "HTML": b"<html><title>Sign in</title></html>",
    "half a JSON": b'{"state": "READY"',
    "a list": b"[]",
    "null": b"null",
    "text": b'"READY"',
    "no UTF-8": b'{"state": "\xff"}',
    "lists without end": b"[" * 100_000,
    "objects without end": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize(
    "request", [get_model(NAME), prepare_model(NAME, "FP8"), next(list_accounts())], ids=str
)
def test_a_success_that_cannot_be_read_is_a_lost_answer(request, body):
    with pytest.raises(NoResponseError) as lost:
        answered(request, body, x_request_id="req-1")
    error = lost.value
    assert error.is_transient
    assert error.outcome_unknown
    assert (error.request, error.status, error.request_id) == (str(request), 200, "req-1")
    assert len(str(error).splitlines()) == 1


def test_a_success_of_another_shape_is_a_lost_answer_that_names_the_places_and_not_the_values():
    with pytest.raises(NoResponseError) as lost:
        answered(get_model(NAME), {"state": {"secret": 1}, "status": {"code": ["secret"]}})
    told = str(lost.value)
    assert "state" in told
    assert "status.code" in told
    assert "secret" not in told


@given(body=st.binary(), status=st.integers(200, 299))
def test_no_body_of_a_success_raises_anything_but_a_lost_answer(body, status):
    for request in (get_model(NAME), prepare_model(NAME, "FP8"), next(list_accounts())):
        with suppress(NoResponseError):
            request.result(status, {}, body, now=NOW)


@given(
    st.dictionaries(
        st.sampled_from(["state", "status", "calibrated", "supportedPrecisions", "baseModelDetails", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=4,
        ),
    )
)
def test_a_model_with_anything_in_its_fields_is_read_or_a_lost_answer(payload):
    with suppress(NoResponseError):
        assert isinstance(answered(get_model(NAME), payload), Model)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (301, b"", UnavailableError),
        (404, b'{"code": 5, "message": "m"}', NotFoundError),
        (404, b"<html>", UnavailableError),
        (403, b'{"error": {"code": "UNAUTHORIZED", "message": "m"}}', AccessDeniedError),
        (429, b"", RateLimitedError),
        (500, b"{}", UnavailableError),
    ],
)
def test_what_is_no_success_is_an_error_that_names_the_call(status, body, kind):
    with pytest.raises(ApiError) as failed:
        answered(get_model(NAME), body, status)
    assert type(failed.value) is kind
    assert failed.value.request == "GET /v1/accounts/demo/models/my-model"


def test_an_error_carries_how_long_the_gateway_asks_to_wait():
    with pytest.raises(RateLimitedError) as limited:
        answered(get_model(NAME), {"code": 8, "message": "m"}, 429, retry_after="12")
    assert limited.value.retry_after == 12


def run(errand, *answers):
    """Make an errand's calls, answered in turn; return its result and the queries it made."""
    queries = []
    request = next(errand)
    for answer in answers:
        queries.append(dict(request.query))
        try:
            request = errand.send(answered(request, answer))
        except StopIteration as end:
            return end.value, queries
    raise AssertionError("it asks for more")


@pytest.mark.parametrize(
    "last", [{"nextPageToken": ""}, {"nextPageToken": None}, {}], ids=["empty", "null", "missing"]
)
def test_all_pages_are_read_to_the_end(last):
    models, queries = run(
        list_models("demo", filter="f"),
        {"models": [{"name": "1"}, {"name": "2"}], "nextPageToken": "t1", "totalSize": 3},
        {"models": [], "nextPageToken": "t2"},
        {"models": [{"name": "3"}]} | last,
    )
    assert [model.name for model in models] == ["1", "2", "3"]
    first = {"pageSize": "200", "filter": "f"}
    assert queries == [first, first | {"pageToken": "t1"}, first | {"pageToken": "t2"}]


@pytest.mark.parametrize("answer", [{}, {"accounts": []}, {"accounts": None}, {"models": [{"name": "x"}]}])
def test_a_list_may_be_empty(answer):
    assert run(list_accounts(), answer) == ([], [{"pageSize": "200"}])


def test_accounts_are_accounts():
    accounts, _ = run(list_accounts(), {"accounts": [{"name": "accounts/demo", "state": "READY"}]})
    assert isinstance(accounts[0], Account)
    assert accounts[0].account_id == "demo"


@pytest.mark.parametrize("tokens", [["t", "t"], ["a", "b", "a"]], ids=["at once", "in a circle"])
def test_a_page_token_that_comes_twice_ends_the_errand(tokens):
    with pytest.raises(ApiError, match="a page token came twice") as endless:
        run(list_accounts(), *({"accounts": [], "nextPageToken": token} for token in tokens), {})
    assert endless.value.request == "GET /v1/accounts"
    assert not endless.value.is_transient


@pytest.mark.parametrize(
    "answer", [{"accounts": "x"}, {"accounts": 5}, {"accounts": [5]}, {"nextPageToken": {"a": 1}}]
)
def test_a_page_of_another_shape_is_a_lost_answer(answer):
    with pytest.raises(NoResponseError):
        answered(next(list_accounts()), answer)


def test_two_runs_of_an_errand_do_not_share_their_tokens():
    for _ in range(2):
        assert run(list_accounts(), {"nextPageToken": "t"}, {})[0] == []


# ---- deployments


def test_deployments_of_what_is_no_account_are_not_asked_for():
    for refused in (
        lambda: next(list_deployments("../x")),
        lambda: match_deployment_shapes("a?b", NAME),
    ):
        with pytest.raises(InvalidNameError):
            refused()


@pytest.mark.parametrize(
    "request",
    [
        create_deployment(DEPLOYMENT, {}),
        get_deployment(DEPLOYMENT),
        update_deployment(DEPLOYMENT, {}, base_model="m"),
        undelete_deployment(DEPLOYMENT),
    ],
    ids=str,
)
def test_a_deployment_is_read(request):
    deployment = answered(request, {"name": str(DEPLOYMENT), "state": "READY", "replicaStats": {"x": 1}})
    assert isinstance(deployment, Deployment)
    assert (deployment.name, deployment.state) == (str(DEPLOYMENT), "READY")


@pytest.mark.parametrize(
    "request",
    [
        scale_deployment(DEPLOYMENT, 1),
        delete_deployment(DEPLOYMENT),
        ask_deployment("m#d"),
    ],
    ids=str,
)
@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"name": 5}])
def test_what_brings_nothing_back(request, answer):
    assert answered(request, answer) is None


@pytest.mark.parametrize(
    "request",
    [
        create_deployment(DEPLOYMENT, {}),
        scale_deployment(DEPLOYMENT, 1),
        delete_deployment(DEPLOYMENT),
        ask_deployment("m#d"),
        match_deployment_shapes("demo", NAME),
    ],
    ids=str,
)
@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_a_deployments_answer_that_cannot_be_read_is_lost(request, body):
    with pytest.raises(NoResponseError):
        answered(request, body)


@given(
    st.dictionaries(
        st.sampled_from(["name", "state", "status", "description", "replicaStats", "replicaCount", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=4,
        ),
    )
)
def test_a_deployment_with_anything_in_its_fields_is_read_or_a_lost_answer(payload):
    with suppress(NoResponseError):
        assert isinstance(answered(get_deployment(DEPLOYMENT), payload), Deployment)


def test_all_pages_of_deployments_keep_the_question():
    deployments, queries = run(
        list_deployments("demo", show_deleted=True),
        {"deployments": [{"name": "1"}], "nextPageToken": "t"},
        {"deployments": [{"name": "2"}]},
    )
    assert [each.name for each in deployments] == ["1", "2"]
    first = {"pageSize": "200", "showDeleted": "true"}
    assert queries == [first, first | {"pageToken": "t"}]


@pytest.mark.parametrize("answer", [{}, {"deploymentShapeVersions": None}, {"deploymentShapeVersions": []}])
def test_no_shape_may_match(answer):
    assert answered(match_deployment_shapes("demo", NAME), answer) == []


def test_matching_shapes_are_read():
    answer = {"deploymentShapeVersions": [{"name": "v", "snapshot": {"precision": "FP8"}}], "totalSize": 1}
    (version,) = answered(match_deployment_shapes("demo", NAME), answer)
    assert (version.name, version.snapshot.precision) == ("v", "FP8")

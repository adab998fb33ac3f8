from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.client.api import (
    Request,
    abort_preparation,
    create_deployment,
    create_model,
    create_router,
    delete_deployment,
    delete_model,
    delete_router,
    get_deployment,
    get_model,
    get_policy_settings,
    get_router,
    get_termination_message,
    get_upload_endpoint,
    list_accounts,
    list_deployments,
    list_models,
    list_quotas,
    list_routers,
    match_deployment_shapes,
    prepare_model,
    request_inference,
    scale_deployment,
    undelete_deployment,
    update_deployment,
    update_router,
    validate_upload,
)
from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    NoResponseError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from airflow_provider_fireworks.client.names import DeploymentName, InvalidNameError, ModelName, RouterName
from airflow_provider_fireworks.client.resources import Deployment, Model, Router

MODEL = ModelName("demo", "my-model")
DEPLOYMENT = DeploymentName("demo", "d")
DEPLOYMENTS_PATH = "v1/accounts/demo/deployments"
DEPLOYMENT_PATH = f"{DEPLOYMENTS_PATH}/d"
ROUTER = RouterName("demo", "r")
ROUTER_PATH = "v1/accounts/demo/routers/r"
NOW = 1_750_000_000.0


def parse(request: Request, content: object, status: int = 200, **headers: str):
    """Parse a response with that content: the bytes of its body, or what is its JSON."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return request.parse(status, names, body, now=NOW, max_retry_after=60.0)


# ---- what is sent


@pytest.mark.parametrize(
    ("api_request", "sent", "writes"),
    [
        pytest.param(
            get_model(MODEL),
            ("GET", "v1/accounts/demo/models/my-model", {}, None),
            False,
            id="get model",
        ),
        pytest.param(
            prepare_model(MODEL, "FP8"),
            ("POST", "v1/accounts/demo/models/my-model:prepare", {}, {"precision": "FP8"}),
            True,
            id="prepare model",
        ),
        pytest.param(
            prepare_model(MODEL, "FP8", accelerator_count=4),
            (
                "POST",
                "v1/accounts/demo/models/my-model:prepare",
                {},
                {"precision": "FP8", "acceleratorCount": 4},
            ),
            True,
            id="prepare model with accelerators",
        ),
        pytest.param(
            abort_preparation(MODEL),
            ("POST", "v1/accounts/demo/models/my-model:prepare", {}, {"abort": True}),
            True,
            id="abort preparation",
        ),
        pytest.param(
            delete_model(MODEL),
            ("DELETE", "v1/accounts/demo/models/my-model", {}, None),
            True,
            id="delete model",
        ),
        pytest.param(
            create_model(MODEL, {"kind": "HF_BASE_MODEL"}),
            (
                "POST",
                "v1/accounts/demo/models",
                {},
                {"modelId": "my-model", "model": {"kind": "HF_BASE_MODEL"}},
            ),
            True,
            id="create model",
        ),
        pytest.param(
            get_upload_endpoint(MODEL, {"config.json": 2**40}),
            (
                "POST",
                "v1/accounts/demo/models/my-model:getUploadEndpoint",
                {},
                {"filenameToSize": {"config.json": "1099511627776"}},
            ),
            False,
            id="get upload endpoint",
        ),
        pytest.param(
            validate_upload(MODEL),
            ("GET", "v1/accounts/demo/models/my-model:validateUpload", {}, None),
            False,
            id="validate upload",
        ),
        pytest.param(
            validate_upload(MODEL, trust_remote_code=True, skip_hf_config_validation=True, config_only=True),
            (
                "GET",
                "v1/accounts/demo/models/my-model:validateUpload",
                {"skipHfConfigValidation": "true", "trustRemoteCode": "true", "configOnly": "true"},
                None,
            ),
            False,
            id="validate upload with all options",
        ),
        pytest.param(
            create_deployment(DEPLOYMENT, {"a": 1}, accept_shapeless_risk=True),
            ("POST", DEPLOYMENTS_PATH, {"deploymentId": "d", "acceptShapelessRisk": "true"}, {"a": 1}),
            True,
            id="create deployment without a shape",
        ),
        pytest.param(
            get_termination_message(DEPLOYMENT),
            ("GET", f"{DEPLOYMENT_PATH}/terminationMessage", {}, None),
            False,
            id="get termination message",
        ),
        pytest.param(
            next(list_quotas("demo")),
            ("GET", "v1/accounts/demo/quotas", {"pageSize": "200"}, None),
            False,
            id="list quotas",
        ),
        pytest.param(
            get_policy_settings("demo"),
            ("GET", "v1/accounts/demo/policySettings", {}, None),
            False,
            id="get policy settings",
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
            id="list models with filter",
        ),
        pytest.param(
            next(list_accounts()),
            ("GET", "v1/accounts", {"pageSize": "200"}, None),
            False,
            id="list accounts",
        ),
        pytest.param(
            create_deployment(DEPLOYMENT, {"baseModel": "m"}),
            ("POST", DEPLOYMENTS_PATH, {"deploymentId": "d"}, {"baseModel": "m"}),
            True,
            id="create deployment",
        ),
        pytest.param(
            create_deployment(DEPLOYMENT, {"baseModel": "m"}, validate_only=True),
            ("POST", DEPLOYMENTS_PATH, {"deploymentId": "d", "validateOnly": "true"}, {"baseModel": "m"}),
            False,
            id="validate deployment",
        ),
        pytest.param(
            get_deployment(DEPLOYMENT), ("GET", DEPLOYMENT_PATH, {}, None), False, id="get deployment"
        ),
        pytest.param(
            next(list_deployments("demo")),
            ("GET", DEPLOYMENTS_PATH, {"pageSize": "200"}, None),
            False,
            id="list deployments",
        ),
        pytest.param(
            next(list_deployments("demo", filter='state="READY"', show_deleted=True)),
            (
                "GET",
                DEPLOYMENTS_PATH,
                {"pageSize": "200", "filter": 'state="READY"', "showDeleted": "true"},
                None,
            ),
            False,
            id="list deployments with filter and deleted ones",
        ),
        pytest.param(
            update_deployment(DEPLOYMENT, {"displayName": "x"}, base_model="m"),
            (
                "PATCH",
                DEPLOYMENT_PATH,
                {"updateMask": "display_name"},
                {"baseModel": "m", "displayName": "x"},
            ),
            True,
            id="update deployment",
        ),
        pytest.param(
            update_deployment(
                DEPLOYMENT,
                {"description": "x", "maxReplicaCount": 2, "maxWithRevocableReplicaCount": 0},
                base_model="m",
            ),
            (
                "PATCH",
                DEPLOYMENT_PATH,
                {"updateMask": "description,max_replica_count,max_with_revocable_replica_count"},
                {
                    "baseModel": "m",
                    "description": "x",
                    "maxReplicaCount": 2,
                    "maxWithRevocableReplicaCount": 0,
                },
            ),
            True,
            id="update several fields",
        ),
        pytest.param(
            scale_deployment(DEPLOYMENT, 0),
            ("PATCH", f"{DEPLOYMENT_PATH}:scale", {}, {"replicaCount": 0}),
            True,
            id="scale deployment",
        ),
        pytest.param(
            delete_deployment(DEPLOYMENT), ("DELETE", DEPLOYMENT_PATH, {}, None), True, id="delete deployment"
        ),
        pytest.param(
            delete_deployment(DEPLOYMENT, hard=True, ignore_checks=True),
            ("DELETE", DEPLOYMENT_PATH, {"hard": "true", "ignoreChecks": "true"}, None),
            True,
            id="delete deployment hard",
        ),
        pytest.param(
            undelete_deployment(DEPLOYMENT),
            ("POST", f"{DEPLOYMENT_PATH}:undelete", {}, {}),
            True,
            id="undelete deployment",
        ),
        pytest.param(
            create_router(ROUTER, {"deployments": ["d"]}),
            ("POST", "v1/accounts/demo/routers", {"routerId": "r"}, {"deployments": ["d"]}),
            True,
            id="create router",
        ),
        pytest.param(get_router(ROUTER), ("GET", ROUTER_PATH, {}, None), False, id="get router"),
        pytest.param(
            next(list_routers("demo", filter="x")),
            ("GET", "v1/accounts/demo/routers", {"pageSize": "200", "filter": "x"}, None),
            False,
            id="list routers",
        ),
        pytest.param(
            update_router(ROUTER, {"displayName": "x", "weightedRandom": {}}),
            (
                "PATCH",
                ROUTER_PATH,
                {"updateMask": "display_name,weighted_random"},
                {"displayName": "x", "weightedRandom": {}},
            ),
            True,
            id="update router",
        ),
        pytest.param(delete_router(ROUTER), ("DELETE", ROUTER_PATH, {}, None), True, id="delete router"),
        pytest.param(
            match_deployment_shapes("demo", MODEL),
            (
                "POST",
                "v1/accounts/demo/deploymentShapeVersions:match",
                {},
                {
                    "createDeploymentRequest": {
                        "parent": "accounts/demo",
                        "deployment": {"baseModel": str(MODEL)},
                    }
                },
            ),
            False,
            id="match deployment shapes",
        ),
        pytest.param(
            request_inference(f"{MODEL}#{DEPLOYMENT}"),
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
            id="request inference",
        ),
    ],
)
def test_request_has_method_path_query_and_body(api_request, sent, writes):
    assert (api_request.method, api_request.path, dict(api_request.query), api_request.body) == sent
    assert api_request.writes is writes
    assert str(api_request) == f"{sent[0]} /{sent[1]}"


@pytest.mark.parametrize(
    "make",
    [
        lambda: next(list_models("../x")),
        lambda: next(list_deployments("../x")),
        lambda: match_deployment_shapes("a?b", MODEL),
        lambda: next(list_quotas("../x")),
        lambda: get_policy_settings("../x"),
        lambda: next(list_routers("../x")),
    ],
    ids=[
        "list models",
        "list deployments",
        "match deployment shapes",
        "list quotas",
        "get policy settings",
        "list routers",
    ],
)
def test_invalid_account_makes_no_request(make):
    with pytest.raises(InvalidNameError):
        make()


# ---- successes


@pytest.mark.parametrize("content", [{}, {"message": ""}, {"message": None}])
def test_missing_termination_message_is_empty(content):
    assert parse(get_termination_message(DEPLOYMENT), content) == ""


def test_termination_message_is_one_line():
    assert parse(get_termination_message(DEPLOYMENT), {"message": "out of\nmemory"}) == "out of memory"


@pytest.mark.parametrize("usage", [3, 3.0, "3"])
def test_quota_is_parsed_whatever_the_type_of_its_usage(usage):
    sent = {"quotas": [{"name": "accounts/demo/quotas/x", "value": "16", "maxValue": "16", "usage": usage}]}
    (quota,) = parse(next(list_quotas("demo")), sent).items
    assert (quota.value, quota.max_value, quota.usage) == (16, 16, 3.0)


def test_model_is_parsed():
    model = parse(get_model(MODEL), {"name": str(MODEL), "state": "READY", "supportedPrecisions": ["FP16"]})
    assert (model.name, model.state, model.supported_precisions) == (str(MODEL), "READY", ["FP16"])


@pytest.mark.parametrize(
    "api_request",
    [
        create_deployment(DEPLOYMENT, {}),
        get_deployment(DEPLOYMENT),
        update_deployment(DEPLOYMENT, {}, base_model="m"),
        undelete_deployment(DEPLOYMENT),
    ],
    ids=str,
)
def test_deployment_is_parsed(api_request):
    deployment = parse(api_request, {"name": str(DEPLOYMENT), "state": "READY", "replicaStats": {"x": 1}})
    assert isinstance(deployment, Deployment)
    assert (deployment.name, deployment.state) == (str(DEPLOYMENT), "READY")


@pytest.mark.parametrize(
    "api_request", [create_router(ROUTER, {}), get_router(ROUTER), update_router(ROUTER, {})], ids=str
)
def test_router_is_parsed(api_request):
    router = parse(api_request, {"name": str(ROUTER), "deployments": None, "evenLoad": {}, "new": 1})
    assert isinstance(router, Router)
    assert (router.name, router.deployments, router.strategy) == (str(ROUTER), None, "evenLoad")


@pytest.mark.parametrize(
    "api_request",
    [
        prepare_model(MODEL, "FP8"),
        scale_deployment(DEPLOYMENT, 1),
        delete_deployment(DEPLOYMENT),
        delete_router(ROUTER),
        request_inference("m#d"),
    ],
    ids=str,
)
@pytest.mark.parametrize("content", [{}, {"choices": []}, {"name": 5}])
@pytest.mark.parametrize("status", [200, 201, 299])
def test_content_without_meaning_is_ignored(api_request, content, status):
    assert parse(api_request, content, status) is None


@pytest.mark.parametrize("content", [{}, {"deploymentShapeVersions": None}, {"deploymentShapeVersions": []}])
def test_no_shapes_may_match(content):
    assert parse(match_deployment_shapes("demo", MODEL), content) == []


def test_matching_shapes_are_parsed():
    content = {"deploymentShapeVersions": [{"name": "v", "snapshot": {"precision": "FP8"}}], "totalSize": 1}
    (version,) = parse(match_deployment_shapes("demo", MODEL), content)
    assert (version.name, version.snapshot.precision) == ("v", "FP8")


def test_signed_urls_are_parsed():
    urls = {"a": "https://store.example/a?x", "other": "https://store.example/other"}
    assert parse(get_upload_endpoint(MODEL, {"a": 1}), {"filenameToSignedUrls": urls}) == {"a": urls["a"]}


@pytest.mark.parametrize(
    "urls", [None, {}, [], {"a": None}, {"a": 5}, {"A": "https://store.example/"}], ids=str
)
def test_missing_signed_url_is_no_response(urls):
    with pytest.raises(NoResponseError, match="not a signed URL for every file"):
        parse(get_upload_endpoint(MODEL, {"a": 1}), {"filenameToSignedUrls": urls})


@pytest.mark.parametrize("content", [{}, {"warnings": None}, {"warnings": []}])
def test_validation_may_have_no_warnings(content):
    assert parse(validate_upload(MODEL), content) == []


def test_warnings_of_validation_are_single_lines():
    assert parse(validate_upload(MODEL), {"warnings": ["a\nb", 5]}) == ["a b", "5"]


# ---- successes that cannot be parsed

UNREADABLE = {
    "empty": b"",
    "HTML": b"<html><title>Sign in</title></html>",
    "cut JSON": b'{"state": "READY"',
    "list": b"[]",
    "null": b"null",
    "text": b'"READY"',
    "invalid UTF-8": b'{"state": "\xff"}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize(
    "api_request",
    [
        get_model(MODEL),
        create_model(MODEL, {}),
        get_upload_endpoint(MODEL, {"a": 1}),
        validate_upload(MODEL),
        prepare_model(MODEL, "FP8"),
        next(list_accounts()),
        create_deployment(DEPLOYMENT, {}),
        scale_deployment(DEPLOYMENT, 1),
        delete_deployment(DEPLOYMENT),
        request_inference("m#d"),
        match_deployment_shapes("demo", MODEL),
    ],
    ids=str,
)
def test_unreadable_success_is_no_response(api_request, name):
    with pytest.raises(NoResponseError) as unreadable:
        parse(api_request, UNREADABLE[name], x_request_id="req-1")
    error = unreadable.value
    assert error.is_transient
    assert error.outcome_unknown
    assert (error.request, error.status, error.request_id) == (str(api_request), 200, "req-1")
    assert error.misdirected is (name in ("HTML", "null", "text"))
    assert len(str(error).splitlines()) == 1


def test_unexpected_fields_are_named_without_their_values():
    with pytest.raises(NoResponseError) as unexpected:
        parse(get_model(MODEL), {"state": {"secret": 1}, "status": {"code": ["secret"]}})
    message = str(unexpected.value)
    assert "unexpected fields: state, status.code" in message
    assert "secret" not in message


@given(body=st.binary(), status=st.integers(200, 299))
def test_any_body_of_a_success_is_parsed_or_no_response(body, status):
    for request in (get_model(MODEL), prepare_model(MODEL, "FP8"), next(list_accounts())):
        with suppress(NoResponseError):
            parse(request, body, status)


FIELDS = ["name", "state", "status", "calibrated", "supportedPrecisions", "baseModelDetails", "description"]
FIELDS += ["replicaStats", "replicaCount", "x"]


@given(
    st.dictionaries(
        st.sampled_from(FIELDS),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=4,
        ),
    )
)
def test_any_field_values_are_parsed_or_no_response(content):
    for request, resource in ((get_model(MODEL), Model), (get_deployment(DEPLOYMENT), Deployment)):
        with suppress(NoResponseError):
            assert isinstance(parse(request, content), resource)


# ---- failures


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
def test_failure_is_an_error_that_names_the_request(status, body, kind):
    with pytest.raises(ApiError) as failure:
        parse(get_model(MODEL), body, status)
    assert type(failure.value) is kind
    assert failure.value.request == "GET /v1/accounts/demo/models/my-model"


@pytest.mark.parametrize(("requested", "seconds"), [("12", 12), ("3600", 60)])
def test_failure_has_the_retry_after_of_its_headers(requested, seconds):
    with pytest.raises(RateLimitedError) as failure:
        parse(get_model(MODEL), {"code": 8, "message": "m"}, 429, retry_after=requested)
    assert failure.value.retry_after == seconds


UNKNOWN_FIELD = {"code": 3, "message": 'proto: unknown field "acceleratorCount"', "details": []}


@pytest.mark.parametrize(
    ("sent", "content", "advises"),
    [
        (prepare_model(MODEL, "FP8", accelerator_count=4), UNKNOWN_FIELD, True),
        (prepare_model(MODEL, "FP8"), UNKNOWN_FIELD, False),
        (
            prepare_model(MODEL, "FP8", accelerator_count=4),
            {"code": 3, "message": "acceleratorCount must be at most 8"},
            False,
        ),
    ],
    ids=["unknown field", "not sent", "invalid value"],
)
def test_refused_newer_field_is_explained(sent, content, advises):
    with pytest.raises(RefusedError) as refusal:
        parse(sent, content, 400)
    assert ("does not know acceleratorCount: omit accelerator_count" in str(refusal.value)) is advises
    assert content["message"] in str(refusal.value)

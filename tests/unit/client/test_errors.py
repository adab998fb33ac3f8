from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import example, given, strategies as st

from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    ConnectError,
    NoResponseError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
    error_from_response,
)

REQUEST = "GET /v1/accounts/a/models/m"
CODES = {
    1: "CANCELLED",
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    15: "DATA_LOSS",
    16: "UNAUTHENTICATED",
}
FLAT_ENVELOPE = json.dumps({"code": 5, "message": "resource not found", "details": []}).encode()
NESTED_ENVELOPE = json.dumps(
    {
        "error": {
            "message": "The API key you provided is invalid.",
            "param": None,
            "code": "UNAUTHORIZED",
            "type": "error",
        },
        "request_id": "req-7",
    }
).encode()
FOREIGN_BODIES = {
    "HTML page": b"<html><head><title>502 Bad\nGateway</title></head><body>nginx</body></html>",
    "text": b"Method Not Allowed",
    "empty": b"",
    "other JSON": b'{"detail": "nope"}',
    "message without code": b'{"message": "nope"}',
    "code without message": b'{"code": 5}',
    "message is an object": b'{"code": 5, "message": {"a": 1}}',
    "error is text": b'{"error": "nope"}',
    "list": b'[{"code": 5, "message": "x"}]',
    "null": b"null",
    "number": b"5",
    "cut JSON": b'{"code": 5, "message": "x"',
    "invalid UTF-8": b"\xff\xfe\xfa",
    "compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
}


def error_for(status: int, body: bytes = FLAT_ENVELOPE, **headers: str) -> ApiError:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_from_response(REQUEST, status, names, body)


# ---- the API's two envelopes


@pytest.mark.parametrize("number", sorted(CODES))
def test_numeric_code_becomes_its_name(number):
    error = error_for(400, json.dumps({"code": number, "message": "m", "details": []}).encode())
    assert (error.code, error.message) == (CODES[number], "m")


@pytest.mark.parametrize(
    ("code", "name"), [(17, "17"), (0, "0"), (-1, "-1"), ("NEW_ONE", "NEW_ONE"), ("", None), (None, None)]
)
def test_unknown_code_is_kept(code, name):
    error = error_for(400, json.dumps({"code": code, "message": "m"}).encode())
    assert isinstance(error, RefusedError)
    assert error.code == name


@pytest.mark.parametrize("status", [401, 403])
def test_nested_envelope_denies_access(status):
    error = error_for(status, NESTED_ENVELOPE)
    assert type(error) is AccessDeniedError
    assert (error.code, error.message) == ("UNAUTHORIZED", "The API key you provided is invalid.")
    assert error.request_id == "req-7"
    assert str(error) == (
        f"{REQUEST}: HTTP {status} UNAUTHORIZED: The API key you provided is invalid. (request id req-7)"
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, UnavailableError),
        (307, UnavailableError),
        (400, RefusedError),
        (401, AccessDeniedError),
        (402, RefusedError),
        (403, AccessDeniedError),
        (404, NotFoundError),
        (405, RefusedError),
        (408, UnavailableError),
        (409, RefusedError),
        (412, RefusedError),
        (422, RefusedError),
        (429, RateLimitedError),
        (499, UnavailableError),
        (500, UnavailableError),
        (501, UnavailableError),
        (502, UnavailableError),
        (503, UnavailableError),
        (504, UnavailableError),
        (529, UnavailableError),
    ],
)
def test_class_follows_the_status_whatever_the_code(status, kind):
    for body in (FLAT_ENVELOPE, NESTED_ENVELOPE, b'{"code": 13, "message": "internal"}'):
        error = error_for(status, body)
        assert type(error) is kind
        assert (error.status, error.request) == (status, REQUEST)
        assert error.is_response
        assert not error.misdirected


def test_empty_message_is_replaced():
    assert error_for(400, b'{"code": 3, "message": ""}').message == "(no message)"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(NESTED_ENVELOPE, "req-7", id="the body's first"),
        pytest.param(FLAT_ENVELOPE, "from-header", id="else the header's"),
        pytest.param(b"<html>", "from-header", id="no envelope"),
    ],
)
def test_request_id_is_read_from_body_or_header(body, expected):
    assert error_for(500, body, x_request_id="from-header").request_id == expected


def test_request_id_is_optional():
    assert error_for(500).request_id is None
    assert "request id" not in str(error_for(500))


# ---- something else has responded in the API's place


@pytest.mark.parametrize("body", FOREIGN_BODIES.values(), ids=FOREIGN_BODIES)
@pytest.mark.parametrize("status", [401, 403, 404])
def test_foreign_body_makes_a_final_status_transient(status, body):
    error = error_for(status, body)
    assert type(error) is UnavailableError
    assert error.is_transient
    assert error.misdirected
    assert not error.is_response
    assert (error.code, error.status) == (None, status)
    assert "unexpected response" in error.message


@pytest.mark.parametrize("body", FOREIGN_BODIES.values(), ids=FOREIGN_BODIES)
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, RefusedError), (405, RefusedError), (429, RateLimitedError), (502, UnavailableError)],
)
def test_foreign_body_is_classified_by_its_status(status, kind, body):
    error = error_for(status, body)
    assert type(error) is kind
    assert not error.misdirected


@pytest.mark.parametrize(
    ("body", "excerpt"),
    [
        pytest.param(FOREIGN_BODIES["HTML page"], "HTML page: 502 Bad Gateway", id="title"),
        pytest.param(b"<HTML><b>Sorry</b></HTML>", "HTML page: Sorry", id="page without title"),
        pytest.param(b"Method\r\nNot Allowed", "not JSON: Method Not Allowed", id="text"),
        pytest.param(b"  \n", "not JSON: empty", id="blanks"),
        pytest.param(b"", "not JSON: empty", id="empty"),
    ],
)
def test_foreign_body_is_quoted_in_short(body, excerpt):
    assert f"unexpected response ({excerpt})" in error_for(502, body).message


def test_long_foreign_body_is_cut():
    assert len(error_for(502, b"x" * 1_000_000).message) < 400


def test_redirect_names_its_target():
    error = error_for(302, b"", location="https://elsewhere.example/\nx")
    assert "redirected to https://elsewhere.example/ x, which is not followed" in error.message
    assert error.misdirected


@pytest.mark.parametrize("depth", [10, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"error":'], ids=["lists", "objects"])
@pytest.mark.parametrize("status", [404, 500])
def test_deeply_nested_body_is_foreign(depth, opening, status):
    assert type(error_for(status, opening * depth)) is UnavailableError


# ---- any body at all


@given(body=st.binary(), status=st.integers(300, 599))
@example(body=b"1" * 5000, status=404)
@example(body=b'{"code": 1e999, "message": "m"}', status=404)
@example(body=b'{"code": true, "message": "m"}', status=404)
@example(body='{"code": 5, "message": "\u2028"}'.encode(), status=404)
def test_any_body_makes_an_error_of_one_line(body, status):
    error = error_for(status, body)
    assert isinstance(error, ApiError)
    assert len(str(error).splitlines()) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["code", "message", "error"]), inner)
    ),
    max_leaves=8,
)


@given(
    error=JSON, code=JSON, message=JSON, request_id=JSON, status=st.sampled_from([400, 401, 404, 429, 500])
)
def test_any_envelope_makes_an_error_of_one_line(error, code, message, request_id, status):
    for envelope in (
        {"code": code, "message": message, "request_id": request_id},
        {"error": {"code": code, "message": message}, "request_id": request_id},
        {"error": error, "code": code, "message": message},
    ):
        made = error_for(status, json.dumps(envelope).encode())
        assert len(str(made).splitlines()) == 1
        assert made.code is None or isinstance(made.code, str)


def test_envelope_cannot_forge_a_log_line():
    body = json.dumps({"code": "A\nB", "message": "m\nn", "request_id": "r\ns"}).encode()
    error = error_for(400, body)
    assert (error.message, error.code, error.request_id) == ("m n", "A B", "r s")


# ---- the classes


@pytest.mark.parametrize(
    ("kind", "is_transient", "outcome_unknown"),
    [
        (ConnectError, True, False),
        (NoResponseError, True, True),
        (UnavailableError, True, True),
        (RateLimitedError, True, False),
        (AccessDeniedError, False, False),
        (NotFoundError, False, False),
        (QuotaExceededError, False, False),
        (RefusedError, False, False),
    ],
)
def test_class_says_whether_transient_and_outcome_unknown(kind, is_transient, outcome_unknown):
    assert (kind.is_transient, kind.outcome_unknown) == (is_transient, outcome_unknown)
    assert issubclass(kind, ApiError)


@pytest.mark.parametrize(
    "duplicate",
    [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
def test_copy_of_an_error_is_equal(duplicate):
    error = error_from_response(
        REQUEST, 429, {"x-request-id": "r"}, b'{"code": 8, "message": "slow down"}', retry_after=3.5
    )
    same = duplicate(error)
    assert type(same) is RateLimitedError
    assert str(same) == str(error)
    assert vars(same) == vars(error)
    assert same.args == error.args


def test_str_omits_what_is_unset():
    assert str(ApiError("no response")) == "no response"
    assert str(ApiError("no response", request=REQUEST)) == f"{REQUEST}: no response"
    assert str(ApiError("m", status=500)) == "HTTP 500: m"


def test_hide_removes_the_key_everywhere():
    error = ApiError("bad key fw_x", request=REQUEST, status=401, code="KEY_fw_x", request_id="r-fw_x")
    error.hide(lambda text: text.replace("fw_x", "***"))
    assert (error.message, error.code, error.request_id) == ("bad key ***", "KEY_***", "r-***")
    for text in (str(error), repr(error), repr(error.args), repr(pickle.loads(pickle.dumps(error)))):
        assert "fw_x" not in text


def test_hide_keeps_what_is_unset():
    error = ApiError("m")
    error.hide(str.upper)
    assert (error.message, error.code, error.request_id) == ("M", None, None)


# ---- a quota of GPUs, and limits on requests

GPU_QUOTAS = {
    "as captured": "global--h200-count for account X, in use: 14, quota: 16, requesting: 4",
    "of another GPU": "global--b200-count for account my-account, in use: 0, quota: 0, requesting: 1",
    "in other words": "insufficient GPU quota",
    "of accelerators": "Accelerators for account X exceed the quota",
}
OTHER_LIMITS = {
    "rate limit": "rate limit exceeded",
    "too many requests": "Too many requests, please try again later.",
    "quota of requests": "Quota exceeded for quota metric 'Requests' and limit 'Requests per minute'",
    "quota of requests with numbers": "request quota: 6000 per minute",
    "GPU without quota": "no GPU is free in this region",
    "empty": "",
}


def envelope_of(message: str, code: object = 8) -> bytes:
    return json.dumps({"code": code, "message": message, "details": []}).encode()


@pytest.mark.parametrize("message", GPU_QUOTAS.values(), ids=GPU_QUOTAS)
@pytest.mark.parametrize("status", [429, 400, 403])
def test_exceeded_gpu_quota_is_recognized(status, message):
    for body in (
        envelope_of(message),
        envelope_of(message.upper(), code=9),
        json.dumps({"error": {"code": "RESOURCE_EXHAUSTED", "message": message}}).encode(),
    ):
        assert type(error_for(status, body)) is QuotaExceededError


@pytest.mark.parametrize("message", OTHER_LIMITS.values(), ids=OTHER_LIMITS)
@pytest.mark.parametrize(
    ("status", "kind"), [(429, RateLimitedError), (400, RefusedError), (403, AccessDeniedError)]
)
def test_other_limit_is_no_gpu_quota(status, kind, message):
    assert type(error_for(status, envelope_of(message))) is kind


@pytest.mark.parametrize("status", [401, 404, 409, 500, 503])
def test_gpu_quota_needs_a_matching_status(status):
    assert type(error_for(status, envelope_of(GPU_QUOTAS["as captured"]))) is not QuotaExceededError


@pytest.mark.parametrize(
    ("status", "kind"), [(429, RateLimitedError), (400, RefusedError), (403, UnavailableError)]
)
def test_gpu_quota_needs_the_apis_envelope(status, kind):
    assert type(error_for(status, GPU_QUOTAS["as captured"].encode())) is kind

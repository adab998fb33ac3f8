from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import example, given, strategies as st

from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    NoResponseError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
    UnreachableError,
    error_from_response,
    one_line,
)

CALL = "GET /v1/accounts/a/models/m"
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
OWN = json.dumps({"code": 5, "message": "resource not found", "details": []}).encode()
OWN_NESTED = json.dumps(
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
IN_BETWEEN = {
    "an HTML page": b"<html><head><title>502 Bad\nGateway</title></head><body>nginx</body></html>",
    "text": b"Method Not Allowed",
    "nothing": b"",
    "JSON of another make": b'{"detail": "nope"}',
    "JSON with a message and no code": b'{"message": "nope"}',
    "JSON with a code and no message": b'{"code": 5}',
    "a message that is no text": b'{"code": 5, "message": {"a": 1}}',
    "an error that is text": b'{"error": "nope"}',
    "a list": b'[{"code": 5, "message": "x"}]',
    "null": b"null",
    "a number": b"5",
    "half a JSON": b'{"code": 5, "message": "x"',
    "no UTF-8": b"\xff\xfe\xfa",
    "a compressed body": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
}


def made(status: int, body: bytes = OWN, **headers: str) -> ApiError:
    return error_from_response(
        CALL, status, {name.replace("_", "-"): value for name, value in headers.items()}, body
    )


@pytest.mark.parametrize("number", sorted(CODES))
def test_the_first_envelope_names_its_number(number):
    error = made(400, json.dumps({"code": number, "message": "m", "details": []}).encode())
    assert (error.code, error.message) == (CODES[number], "m")


@pytest.mark.parametrize(
    ("code", "name"), [(17, "17"), (0, "0"), (-1, "-1"), ("NEW_ONE", "NEW_ONE"), ("", None), (None, None)]
)
def test_a_code_that_no_table_has_is_kept_as_it_is(code, name):
    error = made(400, json.dumps({"code": code, "message": "m"}).encode())
    assert isinstance(error, RefusedError)
    assert error.code == name


@pytest.mark.parametrize("status", [401, 403])
def test_the_second_envelope_denies_access_in_the_gateways_words(status):
    error = made(status, OWN_NESTED)
    assert type(error) is AccessDeniedError
    assert (error.code, error.message) == ("UNAUTHORIZED", "The API key you provided is invalid.")
    assert error.request_id == "req-7"
    assert str(error) == (
        f"{CALL}: HTTP {status} UNAUTHORIZED: The API key you provided is invalid. (request id req-7)"
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
def test_the_class_follows_the_status_whatever_code_the_body_has(status, kind):
    for body in (OWN, OWN_NESTED, b'{"code": 13, "message": "internal"}'):
        error = made(status, body)
        assert type(error) is kind
        assert error.status == status


@pytest.mark.parametrize("body", IN_BETWEEN.values(), ids=IN_BETWEEN)
@pytest.mark.parametrize("status", [401, 403, 404])
def test_final_is_only_what_the_gateway_says_itself(status, body):
    error = made(status, body)
    assert type(error) is UnavailableError
    assert error.is_transient
    assert (error.code, error.status) == (None, status)
    assert "unexpected response" in error.message


@pytest.mark.parametrize("body", IN_BETWEEN.values(), ids=IN_BETWEEN)
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, RefusedError), (405, RefusedError), (429, RateLimitedError), (502, UnavailableError)],
)
def test_what_comes_from_in_between_is_judged_by_its_status_alone(status, kind, body):
    assert type(made(status, body)) is kind


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param(IN_BETWEEN["an HTML page"], "HTML page: 502 Bad Gateway", id="the title of a page"),
        pytest.param(b"<HTML><b>Sorry</b></HTML>", "HTML page: Sorry", id="the text of a page without one"),
        pytest.param(b"Method\r\nNot Allowed", "not JSON: Method Not Allowed", id="text"),
        pytest.param(b"  \n", "not JSON: empty", id="blanks"),
        pytest.param(b"", "not JSON: empty", id="nothing"),
    ],
)
def test_what_is_no_envelope_is_told_in_short(body, told):
    assert f"unexpected response ({told})" in made(502, body).message


def test_a_long_page_is_cut_short():
    assert len(made(502, b"x" * 1_000_000).message) < 400


def test_a_redirect_names_where_it_leads():
    error = made(302, b"", location="https://elsewhere.example/\nx")
    assert "redirected to https://elsewhere.example/ x, which is not followed" in error.message


@pytest.mark.parametrize("depth", [10, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"error":'], ids=["lists", "objects"])
@pytest.mark.parametrize("status", [404, 500])
def test_junk_of_any_depth_is_something_in_between(depth, opening, status):
    assert type(made(status, opening * depth)) is UnavailableError


@given(body=st.binary(), status=st.integers(300, 599))
@example(body=b"1" * 5000, status=404)
@example(body=b'{"code": 1e999, "message": "m"}', status=404)
@example(body=b'{"code": true, "message": "m"}', status=404)
@example(body='{"code": 5, "message": "\u2028"}'.encode(), status=404)
def test_any_body_at_all_makes_an_error_of_one_line(body, status):
    error = made(status, body)
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
def test_envelopes_with_anything_in_them_make_an_error_of_one_line(error, code, message, request_id, status):
    for envelope in (
        {"code": code, "message": message, "request_id": request_id},
        {"error": {"code": code, "message": message}, "request_id": request_id},
        {"error": error, "code": code, "message": message},
    ):
        made_of_it = made(status, json.dumps(envelope).encode())
        assert len(str(made_of_it).splitlines()) == 1
        assert made_of_it.code is None or isinstance(made_of_it.code, str)


@given(st.text() | st.text(alphabet="a \n", min_size=400, max_size=3000))
def test_one_line_is_one_printable_line_of_bounded_length_and_stays_so(text):
    folded = one_line(text)
    assert len(folded) <= 500
    assert folded.isprintable()
    assert one_line(folded) == folded


def test_one_line_folds_what_forges_a_log_line_and_shows_where_it_cuts():
    assert one_line("a\r\n[2026-01-01] INFO \x1b[31mfine\u2028 \x85 b") == "a [2026-01-01] INFO [31mfine b"
    assert one_line("right \u202e to left, \ud800 half a letter, no\u200bthing") == (
        "right to left, half a letter, no thing"
    )
    assert one_line("x" * 501) == "x" * 499 + "…"
    assert one_line("x" * 500) == "x" * 500
    assert one_line("x" * 11, limit=10) == "x" * 9 + "…"
    assert one_line(" " * 10_000 + "x") == "…"


def test_the_gateways_words_cannot_forge_a_line_either():
    body = json.dumps({"code": "A\nB", "message": "m\nn", "request_id": "r\ns"}).encode()
    error = made(400, body)
    assert (error.message, error.code, error.request_id) == ("m n", "A B", "r s")


def test_an_empty_message_is_said_to_be_none():
    assert made(400, b'{"code": 3, "message": ""}').message == "(no message)"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(OWN_NESTED, "req-7", id="the body's goes first"),
        pytest.param(OWN, "from-header", id="else the header's"),
        pytest.param(b"<html>", "from-header", id="also with no envelope"),
    ],
)
def test_the_request_id(body, expected):
    assert made(500, body, x_request_id="from-header").request_id == expected


def test_no_request_id_is_none():
    assert made(500).request_id is None
    assert "request id" not in str(made(500))


@pytest.mark.parametrize(
    ("kind", "is_transient", "outcome_unknown"),
    [
        (UnreachableError, True, False),
        (NoResponseError, True, True),
        (UnavailableError, True, True),
        (RateLimitedError, True, False),
        (AccessDeniedError, False, False),
        (NotFoundError, False, False),
        (QuotaExceededError, False, False),
        (RefusedError, False, False),
    ],
)
def test_what_each_kind_means(kind, is_transient, outcome_unknown):
    assert (kind.is_transient, kind.outcome_unknown) == (is_transient, outcome_unknown)
    assert issubclass(kind, ApiError)


@pytest.mark.parametrize(
    "again",
    [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy],
    ids=["pickled", "copied", "deep"],
)
def test_an_error_survives_the_way_to_another_process(again):
    error = error_from_response(
        CALL, 429, {"x-request-id": "r"}, b'{"code": 8, "message": "slow down"}', retry_after=3.5
    )
    same = again(error)
    assert type(same) is RateLimitedError
    assert str(same) == str(error)
    assert vars(same) == vars(error)
    assert same.args == error.args


def test_what_is_unset_is_not_told():
    assert str(ApiError("no answer")) == "no answer"
    assert str(ApiError("no answer", request=CALL)) == f"{CALL}: no answer"
    assert str(ApiError("m", status=500)) == "HTTP 500: m"


def test_a_key_that_the_gateway_repeats_is_hidden_everywhere():
    error = ApiError("bad key fw_x", request=CALL, status=401, code="KEY_fw_x", request_id="r-fw_x")
    error.hide(lambda text: text.replace("fw_x", "***"))
    assert (error.message, error.code, error.request_id) == ("bad key ***", "KEY_***", "r-***")
    for told in (str(error), repr(error), repr(error.args), repr(pickle.loads(pickle.dumps(error)))):
        assert "fw_x" not in told


def test_hiding_leaves_what_is_unset_unset():
    error = ApiError("m")
    error.hide(str.upper)
    assert (error.message, error.code, error.request_id) == ("M", None, None)


# ---- a quota of GPUs, and limits of requests

QUOTAS = {
    "as captured": "global--h200-count for account X, in use: 14, quota: 16, requesting: 4",
    "of another GPU": "global--b200-count for account my-account, in use: 0, quota: 0, requesting: 1",
    "in other words": "insufficient GPU quota",
    "of accelerators": "Accelerators for account X exceed the quota",
}
OTHER_LIMITS = {
    "a rate limit": "rate limit exceeded",
    "too many requests": "Too many requests, please try again later.",
    "a quota of requests": "Quota exceeded for quota metric 'Requests' and limit 'Requests per minute'",
    "a quota of requests, with numbers": "request quota: 6000 per minute",
    "a GPU and no quota": "no GPU is free in this region",
    "no words": "",
}


def worded(message: str, code: object = 8) -> bytes:
    return json.dumps({"code": code, "message": message, "details": []}).encode()


@pytest.mark.parametrize("message", QUOTAS.values(), ids=QUOTAS)
@pytest.mark.parametrize("status", [429, 400, 403])
def test_an_exceeded_quota_of_gpus_is_recognised_whatever_its_status(status, message):
    for body in (
        worded(message),
        worded(message.upper(), code=9),
        json.dumps({"error": {"code": "RESOURCE_EXHAUSTED", "message": message}}).encode(),
    ):
        assert type(made(status, body)) is QuotaExceededError


@pytest.mark.parametrize("message", OTHER_LIMITS.values(), ids=OTHER_LIMITS)
@pytest.mark.parametrize(
    ("status", "kind"), [(429, RateLimitedError), (400, RefusedError), (403, AccessDeniedError)]
)
def test_any_other_limit_is_none_of_gpus(status, kind, message):
    assert type(made(status, worded(message))) is kind


@pytest.mark.parametrize("status", [401, 404, 409, 500, 503])
def test_no_other_status_tells_of_a_quota(status):
    assert type(made(status, worded(QUOTAS["as captured"]))) is not QuotaExceededError


@pytest.mark.parametrize(
    ("status", "kind"), [(429, RateLimitedError), (400, RefusedError), (403, UnavailableError)]
)
def test_a_quota_is_the_gateways_to_tell_of(status, kind):
    assert type(made(status, QUOTAS["as captured"].encode())) is kind

"""The state machine of one model."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.emulator.emulated_model import EmulatedModel
from airflow_provider_fireworks.emulator.options import Options
from airflow_provider_fireworks.emulator.records import ReceivedFile
from airflow_provider_fireworks.emulator.resource import rfc3339
from airflow_provider_fireworks.emulator.responses import ErrorResponse

OK = {"code": "OK", "message": ""}
FAILED = {"code": "INTERNAL", "message": "preparing the model at FP8 failed"}


@pytest.mark.parametrize(
    ("outcome", "state", "status", "calibrated", "lists"),
    [
        ("ok", "READY", OK, True, (["FP16", "FP8"], [])),
        ("calibrated", "READY", OK, True, (["FP16"], ["FP8"])),
        ("failed_status", "READY", FAILED, False, (["FP16"], [])),
        ("failed_state", "FAILED", FAILED, False, (["FP16"], [])),
        ("without_precision", "READY", OK, False, (["FP16"], [])),
    ],
)
def test_preparation_ends_with_the_configured_outcome(make_api, outcome, state, status, calibrated, lists):
    api = make_api(start_lag=3, duration=10, outcome=outcome, precision_lists="present")
    before = api.model()
    api.prepare()
    assert api.model() == before
    assert api.model_after(2.9) == before
    assert api.model_after(0.2)["state"] == "PREPARING"
    running = api.model_after(9.8)
    assert (running["state"], running["calibrated"]) == ("PREPARING", False)
    after = api.model_after(0.2)
    assert (after["state"], after["status"], after["calibrated"]) == (state, status, calibrated)
    assert (after["supportedPrecisions"], after["supportedPrecisionsWithCalibration"]) == lists
    assert api.model_after(100_000) == after


def test_preparation_with_outcome_never_changes_nothing(make_api):
    api = make_api(outcome="never")
    before = api.model()
    api.prepare()
    assert api.model_after(100_000) == before
    api.prepare()
    assert len(api.state.preparations) == 2, "a preparation that never happens does not block a new one"


@pytest.mark.parametrize("precision", ["FP16", "BF16"])
def test_preparing_a_full_precision_does_not_calibrate(make_api, precision):
    api = make_api(precision_lists="present")
    api.state.models.find("demo", "my-model").force(
        {"baseModelDetails": {"defaultPrecision": "FP8"}, "supportedPrecisions": ["FP8"]}
    )
    api.prepare(precision)
    after = api.model_after(10)
    assert after["supportedPrecisions"] == ["FP8", precision]
    assert after["calibrated"] is False


@pytest.mark.parametrize("outcome", ["ok", "calibrated"])
def test_precision_lists_lag_behind_ready(make_api, outcome):
    api = make_api(lists_lag=5, outcome=outcome, precision_lists="present")
    name = {"ok": "supportedPrecisions", "calibrated": "supportedPrecisionsWithCalibration"}[outcome]
    api.prepare()
    after = api.model_after(10)
    assert (after["state"], after["calibrated"]) == ("READY", True)
    assert "FP8" not in after[name]
    api.prepare()
    assert len(api.state.preparations) == 1, "the precision counts as prepared before the lists show it"
    assert "FP8" not in api.model_after(4.9)[name]
    assert "FP8" in api.model_after(0.2)[name]


@pytest.mark.parametrize("bumped", [True, False])
def test_preparation_changes_update_time_only_if_configured(make_api, bumped):
    api = make_api(bump_update_time=bumped)
    times = [api.model()["updateTime"]]
    api.prepare()
    times += [api.model_after(1)["updateTime"], api.model_after(10)["updateTime"]]
    assert len(set(times)) == (3 if bumped else 1)
    assert times == sorted(times)


def test_outcome_of_one_precision_overrides_the_default(make_api):
    api = make_api(outcome="failed_state", outcomes={"FP4": "ok"})
    api.prepare("FP4")
    assert api.model_after(10)["state"] == "READY"
    api.prepare("FP8")
    assert api.model_after(10)["state"] == "FAILED"


def test_running_preparation_keeps_its_options(make_api):
    api = make_api()
    api.prepare()
    api.state.configure(outcome="failed_state", duration=1)
    assert api.model_after(9)["state"] == "PREPARING"
    assert api.model_after(1)["state"] == "READY"
    assert api.is_prepared("FP8")


@pytest.mark.parametrize("outcome", ["failed_status", "failed_state", "without_precision"])
def test_model_can_be_prepared_again_after_a_failure(make_api, outcome):
    api = make_api(outcome=outcome)
    api.prepare()
    api.clock.sleep(10)
    api.state.configure(outcome="ok")
    api.prepare()
    assert api.model_after(1)["state"] == "PREPARING"
    assert api.model()["status"] == OK
    assert not api.is_prepared("FP8")
    assert api.model_after(10)["state"] == "READY"
    assert api.is_prepared("FP8")
    assert len(api.state.preparations) == 2


def test_stale_status_survives_success_but_not_failure(make_api):
    api = make_api(stale_status=True)
    stale = api.model()["status"]
    assert stale["code"] == "INTERNAL"
    api.prepare("FP4")
    assert api.model_after(1)["status"] == stale
    assert api.model_after(10)["status"] == stale
    assert api.model("my-uploading-model")["status"] == OK
    api.state.configure(outcome="failed_status")
    api.prepare("FP8")
    assert api.model_after(10)["status"] == FAILED


@pytest.mark.parametrize(
    ("lists", "shown", "newer"),
    [("present", ["FP16", "FP8"], False), ("empty", [], False), ("absent", None, True)],
)
def test_precision_lists_are_present_empty_or_absent(make_api, lists, shown, newer):
    api = make_api(precision_lists=lists)
    api.prepare()
    after = api.model_after(10)
    assert after.get("supportedPrecisions") == shown
    assert ("supportedPrecisionsWithCalibration" in after) is (lists != "absent")
    assert ("supportsServerless" in after) is newer
    assert after["calibrated"] is True
    api.prepare()
    assert len(api.state.preparations) == 1, "the precision counts as prepared even if it is not listed"


REFUSALS = [
    ("aborted", "ABORTED"),
    ("already_exists", "ALREADY_EXISTS"),
    ("failed_precondition", "FAILED_PRECONDITION"),
]


@pytest.mark.parametrize(("how", "code"), REFUSALS)
@pytest.mark.parametrize("lag", [0, 5])
def test_second_precision_is_refused_even_during_the_start_lag(make_api, how, code, lag):
    api = make_api(second_prepare=how, start_lag=lag)
    api.prepare("FP8")
    with pytest.raises(ErrorResponse) as caught:
        api.prepare("FP4")
    assert caught.value.code == code
    assert api.state.counts == {"prepare accepted": 1, "prepare refused": 1}
    api.clock.sleep(10 + lag)
    api.prepare("FP4")


def test_second_precision_is_accepted_and_both_run(make_api):
    api = make_api()
    api.prepare("FP8")
    api.clock.sleep(4)
    api.prepare("FP4")
    assert api.model_after(6)["state"] == "PREPARING"
    assert (api.is_prepared("FP8"), api.is_prepared("FP4")) == (True, False)
    assert api.model_after(4)["state"] == "READY"
    assert (api.is_prepared("FP8"), api.is_prepared("FP4")) == (True, True)


def test_failure_during_another_preparation_sets_only_the_status(make_api):
    api = make_api(outcomes={"FP8": "failed_state"})
    api.prepare("FP8")
    api.clock.sleep(4)
    api.prepare("FP4")
    between = api.model_after(6)
    assert (between["state"], between["status"]) == ("PREPARING", FAILED)
    assert api.model_after(4)["state"] == "READY"


def test_second_precision_is_ignored(make_api):
    api = make_api(second_prepare="ignored")
    api.prepare("FP8")
    api.prepare("FP4")
    assert api.model_after(100)["state"] == "READY"
    assert (api.is_prepared("FP8"), api.is_prepared("FP4")) == (True, False)
    assert api.state.counts == {"prepare accepted": 1, "prepare ignored": 1}


@pytest.mark.parametrize(("option", "wait"), [("same_prepare", 1), ("already_prepared", 10)])
@pytest.mark.parametrize(("how", "code"), [("ok", None), *REFUSALS])
def test_prepare_of_the_same_precision_is_accepted_or_refused(make_api, option, wait, how, code):
    api = make_api(**{option: how})
    api.prepare()
    api.clock.sleep(wait)
    if code is None:
        api.prepare()
        assert api.state.counts["prepare already"] == 1
    else:
        with pytest.raises(ErrorResponse) as caught:
            api.prepare()
        assert caught.value.code == code
    assert len(api.state.preparations) == 1


def test_default_precision_counts_as_prepared(make_api):
    api = make_api(already_prepared="already_exists")
    api.state.models.find("demo", "my-other-model").force({"supportedPrecisions": []})
    with pytest.raises(ErrorResponse, match="ALREADY_EXISTS"):
        api.prepare("BF16", model="my-other-model")


@pytest.mark.parametrize("lag", [0, 5])
@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("cancelled", {"code": "CANCELLED", "message": "preparing the model at FP4, FP8 was aborted"}),
        ("ok", OK),
    ],
)
def test_abort_stops_all_preparations_even_during_the_start_lag(make_api, lag, status, shown):
    api = make_api(start_lag=lag, abort_status=status)
    before = api.model()
    api.prepare("FP8")
    api.prepare("FP4")
    assert api.model_after(1)["state"] == ("READY" if lag else "PREPARING")
    api.abort()
    after = api.model()
    assert after == {**before, "status": shown, "updateTime": rfc3339(api.clock())}
    assert api.model_after(100_000) == after
    assert api.state.counts == {"prepare accepted": 2, "prepare aborted": 1}


def test_abort_changes_update_time_only_if_configured(make_api):
    api = make_api(bump_update_time=False)
    before = api.model()["updateTime"]
    api.prepare()
    api.clock.sleep(1)
    api.abort()
    assert api.model()["updateTime"] == before


def test_abort_with_status_ok_keeps_a_stale_status(make_api):
    api = make_api(stale_status=True, abort_status="ok")
    stale = api.model()["status"]
    api.prepare()
    api.abort()
    assert api.model()["status"] == stale


def test_abort_keeps_a_precision_that_the_lists_do_not_show_yet(make_api):
    api = make_api(lists_lag=5, precision_lists="present")
    api.prepare("FP8")
    api.clock.sleep(9)
    api.prepare("FP4")
    api.clock.sleep(2)
    api.abort()
    assert api.model_after(100)["supportedPrecisions"] == ["FP16", "FP8"]
    assert api.model()["calibrated"] is True


def test_model_can_be_prepared_again_after_an_abort(make_api):
    api = make_api(second_prepare="aborted")
    api.prepare("FP8")
    api.clock.sleep(9)
    api.abort()
    api.prepare("FP4")
    assert (api.model()["state"], api.model()["status"]) == ("PREPARING", OK)
    assert api.model_after(9.9)["state"] == "PREPARING"
    assert api.model_after(0.1)["state"] == "READY"
    assert (api.is_prepared("FP8"), api.is_prepared("FP4")) == (False, True)


@pytest.mark.parametrize("outcome", [None, "ok", "never"])
@pytest.mark.parametrize(
    ("idle", "code"),
    [("ok", None), ("not_found", "NOT_FOUND"), ("failed_precondition", "FAILED_PRECONDITION")],
)
def test_abort_of_an_idle_model_changes_nothing(make_api, outcome, idle, code):
    api = make_api(abort_idle=idle, outcome=outcome or "ok")
    if outcome:
        api.prepare()
    before = api.model_after(10)
    api.state.clear()
    if code is None:
        api.abort()
    else:
        with pytest.raises(ErrorResponse) as caught:
            api.abort()
        assert caught.value.code == code
    assert api.model() == before
    assert api.state.counts == {"prepare ignored" if code is None else "prepare refused": 1}


@pytest.mark.parametrize(("wanted", "requesting"), [(None, 8), (4, 4)])
@pytest.mark.parametrize(("quota", "shown"), [(16, 16), (None, 2)])
def test_prepare_beyond_the_quota_says_how_many_gpus_it_needs(make_api, wanted, requesting, quota, shown):
    api = make_api(prepare_refusal="quota", quota_status=403, gpu_quota=quota)
    api.create(acceleratorCount=2)
    with pytest.raises(ErrorResponse) as caught:
        api.prepare(accelerator_count=wanted)
    message = f"global--h100-count for account demo, in use: 2, quota: {shown}, requesting: {requesting}"
    assert (caught.value.code, caught.value.message, caught.value.status) == (
        "RESOURCE_EXHAUSTED",
        message,
        403,
    )
    assert (api.state.preparations, api.state.counts["prepare refused"]) == ([], 1)
    assert api.model_after(10)["state"] == "READY"
    assert not api.is_prepared("FP8")


@pytest.mark.parametrize("refusal", ["quota", "entitlement"])
def test_prepare_refusal_applies_only_to_preparations_that_would_start(make_api, refusal):
    api = make_api(second_prepare="ignored")
    api.prepare("FP8")
    api.state.configure(prepare_refusal=refusal)
    api.prepare("FP8")
    api.prepare("FP4")
    api.clock.sleep(10)
    api.prepare("FP8")
    with pytest.raises(ErrorResponse):
        api.prepare("FP4")
    assert api.state.counts == {
        "prepare accepted": 1,
        "prepare already": 2,
        "prepare ignored": 1,
        "prepare refused": 1,
    }


def test_zero_data_retention_refuses_every_prepare_request(make_api):
    api = make_api()
    api.prepare()
    api.state.configure(zero_data_retention=True)
    for request in (api.prepare, api.abort, lambda: api.prepare("FP4")):
        with pytest.raises(ErrorResponse, match=r"FAILED_PRECONDITION.*zero data retention"):
            request()
    with pytest.raises(ErrorResponse, match="NOT_FOUND"):
        api.prepare(model="none")
    assert api.model_after(10)["state"] == "READY"
    assert (api.is_prepared("FP8"), api.is_prepared("FP4")) == (True, False)


@pytest.mark.parametrize("model", ["my-uploading-model", "my-addon"])
def test_prepare_refuses_uploading_models_and_addons(make_api, model):
    api = make_api()
    with pytest.raises(ErrorResponse, match="FAILED_PRECONDITION"):
        api.prepare(model=model)


def test_forced_state_stays(make_api):
    api = make_api()
    api.prepare()
    api.clock.sleep(1)
    api.state.models.find("demo", "my-model").force({"state": "ARCHIVED"})
    assert api.model_after(1000)["state"] == "ARCHIVED"


def test_force_refuses_unknown_fields(make_api):
    with pytest.raises(ValueError, match="Unknown field 'State' of a model"):
        make_api().state.models.find("demo", "my-model").force({"State": "READY"})


def test_removing_a_model_removes_its_preparations(make_api):
    api = make_api()
    api.prepare()
    api.state.models.remove("demo", "my-model")
    api.state.models.create("demo", "my-model", {})
    assert api.model_after(100)["state"] == "UPLOADING"
    assert not api.is_prepared("FP8")


def test_created_model_is_uploading_until_validation_succeeds(make_api):
    api = make_api(validation_duration=5)
    upload = api.state.models.create("demo", "new", {}).upload
    before = api.model("new")
    assert before["state"] == "UPLOADING"
    upload.announce({"weights": 3})
    with pytest.raises(ErrorResponse, match="weights not found"):
        api.state.models.validate_upload("demo", "new")
    upload.store(ReceivedFile("weights", 3, "", api.clock()))
    for _ in range(2):
        with pytest.raises(ErrorResponse, match="being validated"):
            api.state.models.validate_upload("demo", "new")
        api.clock.sleep(2.5)
    assert api.state.models.validate_upload("demo", "new") == []
    after = api.model("new")
    assert after["state"] == "READY"
    assert after["updateTime"] > before["updateTime"]
    assert api.state.counts["validation early"] == 1


def test_rate_limit_applies_to_any_60_seconds(make_api):
    api = make_api(requests_per_minute=2)
    key = f"Bearer {api.state.options.api_key}"
    refused = []
    for _ in range(7):
        refused.append(api.state.refuse(key) is not None)
        api.clock.sleep(20)
    assert refused == [False, False, True, False, False, True, False]


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_750_000_000.5, "2025-06-15T15:06:40.500Z"),
        (1_750_000_000.000_001_907, "2025-06-15T15:06:40.000001907Z"),
    ],
)
def test_rfc3339_has_up_to_nine_fractional_digits(at, text):
    assert rfc3339(at) == text


@given(
    requests=st.lists(
        st.tuples(st.floats(0, 30), st.sampled_from(["FP8", "FP4", "NF4", "abort"])), max_size=6
    ),
    reads=st.lists(st.floats(0, 200), max_size=10),
    lag=st.sampled_from([0.0, 2.0]),
    outcome=st.sampled_from(["ok", "calibrated", "failed_status", "failed_state", "without_precision"]),
)
def test_reading_a_model_does_not_change_it(requests, reads, lag, outcome):
    options = Options(start_lag=lag, duration=10, lists_lag=3, outcomes={"FP4": outcome})

    def run(reads: list[float]) -> dict[str, object]:
        model = EmulatedModel("demo", "m", 0)
        for at, precision in sorted([*requests, *((at, "") for at in reads)]):
            model.advance(at)
            if precision == "abort":
                model.abort(at, options)
            elif precision:
                model.prepare(precision, at, options)
        model.advance(1000)
        return model.payload(options)

    with_reads = run(reads)
    assert with_reads == run([])
    assert with_reads["state"] in ("READY", "FAILED")

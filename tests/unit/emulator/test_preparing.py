"""What preparing does to a model, second by second."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.emulator.models import EmulatedModel, rfc3339
from airflow_provider_fireworks.emulator.options import Options
from airflow_provider_fireworks.emulator.responses import ApiError

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
def test_a_preparation_runs_and_ends_as_the_options_say(bench, outcome, state, status, calibrated, lists):
    here = bench(start_lag=3, duration=10, outcome=outcome)
    before = here.read()
    here.prepare()
    assert here.read() == before
    assert here.after(2.9) == before
    assert here.after(0.2)["state"] == "PREPARING"
    running = here.after(9.8)
    assert (running["state"], running["calibrated"]) == ("PREPARING", False)
    after = here.after(0.2)
    assert (after["state"], after["status"], after["calibrated"]) == (state, status, calibrated)
    assert (after["supportedPrecisions"], after["supportedPrecisionsWithCalibration"]) == lists
    assert here.after(100_000) == after


def test_nothing_ever_happens_where_that_is_the_outcome(bench):
    here = bench(outcome="never")
    before = here.read()
    here.prepare()
    assert here.after(100_000) == before
    assert [p.outcome for p in here.state.preparations] == ["never"]
    here.prepare()
    assert len(here.state.preparations) == 2, "what the API forgot does not stand in the way of a new one"


@pytest.mark.parametrize("precision", ["FP16", "BF16"])
def test_full_precisions_do_not_calibrate(bench, precision):
    here = bench()
    here.state.find("demo", "my-model").force(
        {"baseModelDetails": {"defaultPrecision": "FP8"}, "supportedPrecisions": ["FP8"]}
    )
    here.prepare(precision)
    after = here.after(10)
    assert after["supportedPrecisions"] == ["FP8", precision]
    assert after["calibrated"] is False


@pytest.mark.parametrize("outcome", ["ok", "calibrated"])
def test_lists_lag_behind_the_return_to_ready(bench, outcome):
    here = bench(lists_lag=5, outcome=outcome)
    name = {"ok": "supportedPrecisions", "calibrated": "supportedPrecisionsWithCalibration"}[outcome]
    here.prepare()
    after = here.after(10)
    assert (after["state"], after["calibrated"]) == ("READY", True)
    assert "FP8" not in after[name]
    here.prepare()
    assert len(here.state.preparations) == 1, "the API itself knows what the lists do not say yet"
    assert "FP8" not in here.after(4.9)[name]
    assert "FP8" in here.after(0.2)[name]


@pytest.mark.parametrize("bumped", [True, False])
def test_update_time_moves_only_where_it_is_bumped(bench, bumped):
    here = bench(bump_update_time=bumped)
    times = [here.read()["updateTime"]]
    here.prepare()
    times += [here.after(1)["updateTime"], here.after(10)["updateTime"]]
    assert len(set(times)) == (3 if bumped else 1)
    assert times == sorted(times)


def test_outcomes_of_single_precisions_come_before_the_one_for_all(bench):
    here = bench(outcome="failed_state", outcomes={"FP4": "ok"})
    here.prepare("FP4")
    assert here.after(10)["state"] == "READY"
    here.prepare("FP8")
    assert here.after(10)["state"] == "FAILED"


def test_a_preparation_keeps_the_options_it_was_accepted_under(bench):
    here = bench()
    here.prepare()
    here.state.configure(outcome="failed_state", duration=1)
    assert here.after(9)["state"] == "PREPARING"
    assert "FP8" in here.after(1)["supportedPrecisions"]


@pytest.mark.parametrize("outcome", ["failed_status", "failed_state", "without_precision"])
def test_after_a_failure_it_can_be_prepared_again(bench, outcome):
    here = bench(outcome=outcome)
    here.prepare()
    here.clock.sleep(10)
    here.state.configure(outcome="ok")
    here.prepare()
    assert here.after(1)["state"] == "PREPARING"
    assert here.read()["status"] == OK
    after = here.after(10)
    assert (after["state"], after["supportedPrecisions"]) == ("READY", ["FP16", "FP8"])
    assert len(here.state.preparations) == 2


def test_a_stale_status_stays_through_success_and_gives_way_to_a_failure(bench):
    here = bench(stale_status=True)
    stale = here.read()["status"]
    assert stale["code"] == "INTERNAL"
    here.prepare("FP4")
    assert here.after(1)["status"] == stale
    assert here.after(10)["status"] == stale
    assert here.read("my-uploading-model")["status"] == OK
    here.state.configure(outcome="failed_status")
    here.prepare("FP8")
    assert here.after(10)["status"] == FAILED


@pytest.mark.parametrize(
    ("lists", "shown", "newer"),
    [("present", ["FP16", "FP8"], False), ("empty", [], False), ("absent", None, True)],
)
def test_lists_are_filled_empty_or_left_out(bench, lists, shown, newer):
    here = bench(precision_lists=lists)
    here.prepare()
    after = here.after(10)
    assert after.get("supportedPrecisions") == shown
    assert ("supportedPrecisionsWithCalibration" in after) is (lists != "absent")
    assert ("supportsServerless" in after) is newer
    assert after["calibrated"] is True
    here.prepare()
    assert len(here.state.preparations) == 1, "what is not shown is known all the same"


REFUSALS = [
    ("aborted", "ABORTED"),
    ("already_exists", "ALREADY_EXISTS"),
    ("failed_precondition", "FAILED_PRECONDITION"),
]


@pytest.mark.parametrize(("how", "name"), REFUSALS)
@pytest.mark.parametrize("lag", [0, 5])
def test_a_second_precision_is_refused_also_while_the_first_is_hidden_by_the_lag(bench, how, name, lag):
    here = bench(second_prepare=how, start_lag=lag)
    here.prepare("FP8")
    with pytest.raises(ApiError) as caught:
        here.prepare("FP4")
    assert caught.value.name == name
    assert here.state.counts == {"prepare accepted": 1, "prepare refused": 1}
    here.clock.sleep(10 + lag)
    here.prepare("FP4")


def test_a_second_precision_is_accepted_and_both_run(bench):
    here = bench()
    here.prepare("FP8")
    here.clock.sleep(4)
    here.prepare("FP4")
    between = here.after(6)
    assert (between["state"], between["supportedPrecisions"]) == ("PREPARING", ["FP16", "FP8"])
    after = here.after(4)
    assert (after["state"], after["supportedPrecisions"]) == ("READY", ["FP16", "FP8", "FP4"])


def test_a_failure_beside_a_running_preparation_shows_in_the_status_alone(bench):
    here = bench(outcomes={"FP8": "failed_state"})
    here.prepare("FP8")
    here.clock.sleep(4)
    here.prepare("FP4")
    between = here.after(6)
    assert (between["state"], between["status"]) == ("PREPARING", FAILED)
    assert here.after(4)["state"] == "READY"


def test_a_second_precision_is_ignored(bench):
    here = bench(second_prepare="ignored")
    here.prepare("FP8")
    here.prepare("FP4")
    assert here.after(100)["supportedPrecisions"] == ["FP16", "FP8"]
    assert here.state.counts == {"prepare accepted": 1, "prepare ignored": 1}


@pytest.mark.parametrize(("option", "wait"), [("same_prepare", 1), ("already_prepared", 10)])
@pytest.mark.parametrize(("how", "name"), [("ok", None), *REFUSALS])
def test_the_same_precision_again(bench, option, wait, how, name):
    here = bench(**{option: how})
    here.prepare()
    here.clock.sleep(wait)
    if name is None:
        here.prepare()
        assert here.state.counts["prepare already"] == 1
    else:
        with pytest.raises(ApiError) as caught:
            here.prepare()
        assert caught.value.name == name
    assert len(here.state.preparations) == 1


def test_the_default_precision_counts_as_prepared(bench):
    here = bench(already_prepared="already_exists")
    here.state.find("demo", "my-other-model").force({"supportedPrecisions": []})
    with pytest.raises(ApiError, match="ALREADY_EXISTS"):
        here.prepare("BF16", model="my-other-model")


@pytest.mark.parametrize("model", ["my-uploading-model", "my-addon"])
def test_uploads_and_add_ons_are_not_prepared(bench, model):
    here = bench()
    with pytest.raises(ApiError, match="FAILED_PRECONDITION"):
        here.prepare(model=model)


def test_a_forced_state_stays(bench):
    here = bench()
    here.prepare()
    here.clock.sleep(1)
    here.state.find("demo", "my-model").force({"state": "ARCHIVED"})
    assert here.after(1000)["state"] == "ARCHIVED"


def test_forcing_fields_refuses_those_that_no_model_has(bench):
    with pytest.raises(ValueError, match="'State' is no field"):
        bench().state.find("demo", "my-model").force({"State": "READY"})


def test_a_removed_model_takes_its_preparations_along(bench):
    here = bench()
    here.prepare()
    here.state.remove("demo", "my-model")
    here.state.create("demo", "my-model", {})
    assert here.after(100)["supportedPrecisions"] == ["FP16"]


def test_a_new_model_uploads_first(bench):
    here = bench(upload_duration=5)
    here.state.create("demo", "new", {})
    before = here.read("new")
    assert before["state"] == "UPLOADING"
    here.clock.sleep(5)
    after = here.read("new")
    assert after["state"] == "READY"
    assert after["updateTime"] > before["updateTime"]


def test_the_rate_limit_is_one_for_any_minute(bench):
    here = bench(requests_per_minute=2)
    key = f"Bearer {here.state.options.api_key}"
    refused = []
    for _ in range(7):
        refused.append(here.state.admit(key) is not None)
        here.clock.sleep(20)
    assert refused == [False, False, True, False, False, True, False]


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_750_000_000.5, "2025-06-15T15:06:40.500Z"),
        (1_750_000_000.000_001_907, "2025-06-15T15:06:40.000001907Z"),
    ],
)
def test_times_have_up_to_nine_digits(at, text):
    assert rfc3339(at) == text


@given(
    asks=st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["FP8", "FP4", "NF4"])), max_size=6),
    looks=st.lists(st.floats(0, 200), max_size=10),
    lag=st.sampled_from([0.0, 2.0]),
    outcome=st.sampled_from(["ok", "calibrated", "failed_status", "failed_state", "without_precision"]),
)
def test_looking_changes_nothing(asks, looks, lag, outcome):
    """However often a model is looked at, and whenever: what is read in the end is the same."""
    options = Options(start_lag=lag, duration=10, lists_lag=3, outcomes={"FP4": outcome})

    def run(extra: list[float]) -> dict[str, object]:
        model = EmulatedModel("demo", "m", 0)
        for at, precision in sorted([*asks, *((look, "") for look in extra)]):
            model.settle(at)
            if precision:
                model.prepare(precision, at, options)
        model.settle(1000)
        return model.payload(options)

    looked_at = run(looks)
    assert looked_at == run([])
    assert looked_at["state"] in ("READY", "FAILED")

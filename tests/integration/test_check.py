"""``python -m airflow_provider_fireworks check`` against emulated APIs that differ in what is not known."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import airflow
import pytest

from airflow_provider_fireworks.check.cli import main
from airflow_provider_fireworks.emulator import Emulator
from airflow_provider_fireworks.emulator.options import Options
from tests.integration.conftest import MODEL

PROGRAM = [sys.executable, "-m", "airflow_provider_fireworks", "check"]
VALIDATE = ("--model", "my-model", "--validate-deployments")


@pytest.fixture
def check(capsys):
    """Run a check, and return its exit code and its JSON object."""

    def run(*arguments):
        # On Airflow 3.0, the hook logs to stdout that it has read the connection.
        capsys.readouterr()
        code = main(["check", "--json", *arguments])
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        return code, json.loads(output.out)

    return run


def results(report):
    return {each["name"]: each["ok"] for each in report["checks"]}


def details(report):
    return {each["name"]: each["detail"] for each in report["checks"]}


def settled(report):
    found = {each["option"]: each["value"] for each in report["settled"]}
    Options.model_validate(found)
    return found


def prepare(emulator, model="my-model", precisions=("FP16", "FP8")):
    emulator.set_model(model, supportedPrecisions=list(precisions))


@contextlib.contextmanager
def serve_json(respond):
    """Serve what a function returns for a path, and yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = json.dumps(respond(urlsplit(self.path).path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


# ---- without a model


def test_check_of_an_account_passes(emulator, check):
    code, report = check()
    assert code == 0
    assert results(report) == {
        "connection": True,
        "account": True,
        "zero data retention": True,
        "GPU quotas": None,
        "deleted deployments": None,
    }
    assert (report["baseUrl"], report["accountId"], report["model"]) == (emulator.url, "demo", None)
    assert settled(report) == {"zero_data_retention": False}


def test_check_sends_only_reads(emulator, check):
    emulator.configure(gpu_quota=4)
    check("--model", "my-model")
    assert {request.method for request in emulator.requests} == {"GET", "POST"}
    assert emulator.count("POST") == emulator.count("POST", "deploymentShapeVersions:match") == 1


def test_zero_data_retention_fails_and_quota_is_settled(emulator, check):
    emulator.configure(zero_data_retention=True, gpu_quota=16)
    code, report = check("--accelerator-type", "NVIDIA_H200_141GB")
    assert code == 1
    assert results(report)["zero data retention"] is False
    assert "global--h200-count: 0 of 16 in use" in details(report)["GPU quotas"]
    assert settled(report) == {"zero_data_retention": True, "gpu_quota": 16}


@pytest.mark.parametrize(
    ("value", "is_on"),
    [(None, False), ("", False), ({}, False), ({"enabled": False}, False), ({"enabled": True}, True)],
)
def test_zero_data_retention_of_any_type_is_on_or_off(check, connect, value, is_on):
    def respond(path):
        if path.endswith("/policySettings"):
            return {"zeroDataRetention": value}
        return {"accounts": [{"name": "accounts/demo"}]} if path == "/v1/accounts" else {}

    with serve_json(respond) as url:
        connect(host=url)
        code, report = check()
    assert code == (1 if is_on else 0)
    assert settled(report)["zero_data_retention"] is is_on


def test_missing_policy_settings_are_off_and_missing_quotas_not_known(emulator, check):
    emulator.fault("status", status=404, times=-1, path="policySettings|quotas")
    code, report = check()
    assert code == 0
    assert results(report)["zero data retention"] is True
    assert results(report)["GPU quotas"] is None


def test_request_that_fails_leaves_the_other_checks(emulator, check):
    emulator.fault("status", status=500, times=-1, path="policySettings")
    code, report = check("--model", "my-model")
    assert code == 0
    assert results(report)["zero data retention"] is None
    assert results(report)["model"] is True


@pytest.mark.parametrize("deleted_get", ["deleted", "not_found"])
def test_deleted_deployment_settles_what_a_get_returns(emulator, check, deleted_get):
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook

    emulator.configure(deleted_get=deleted_get)
    hook = FireworksHook()
    hook.create_deployment("old", {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"})
    hook.delete_deployment("old")

    _, report = check()

    assert settled(report)["deleted_get"] == deleted_get


# ---- with a model


def test_listed_precisions_settle_present(emulator, check):
    emulator.configure(precision_lists="present")
    code, report = check("--model", "my-model")
    assert code == 0
    assert "supportedPrecisions: FP16" in details(report)["precision lists"]
    assert settled(report)["precision_lists"] == "present"
    assert "match_shapes" not in settled(report)


@pytest.mark.parametrize("lists", ["absent", "empty"])
def test_missing_precisions_settle_how_they_are_missing(emulator, check, lists):
    emulator.configure(precision_lists=lists, match_shapes="all")
    code, report = check("--model", MODEL)
    assert code == 0
    assert settled(report)["precision_lists"] == lists
    assert "match_shapes" not in settled(report)


def test_shapes_at_unlisted_precisions_settle_all(emulator, check):
    emulator.configure(precision_lists="present", match_shapes="all")
    _, report = check("--model", "my-model")
    assert "FP8: NVIDIA_H100_80GB x1" in details(report)["deployment shapes"]
    assert settled(report)["match_shapes"] == "all"


def test_ready_model_with_an_error_settles_stale_status(emulator, check):
    emulator.configure(stale_status=True)
    code, report = check("--model", "my-model")
    assert code == 0
    assert settled(report)["stale_status"] is True


def test_failed_model_fails(emulator, check):
    emulator.set_model("my-model", state="FAILED", status={"code": "INTERNAL", "message": "broken"})
    code, report = check("--model", "my-model")
    assert code == 1
    assert "state FAILED, status INTERNAL: broken" in details(report)["model"]


def test_unknown_model_fails_and_its_other_checks_do_not_run(emulator, check):
    code, report = check("--model", "no-model", "--validate-deployments")
    assert code == 1
    assert "accounts/demo/models/no-model does not exist" in details(report)["model"]
    for name in ("precision lists", "deployment shapes", "validateOnly"):
        assert results(report)[name] is None


# ---- validateOnly


def test_validation_that_refuses_an_unprepared_precision_settles_checks(emulator, check):
    emulator.configure(precision_lists="present")
    prepare(emulator)
    code, report = check(*VALIDATE)
    assert code == 0
    assert settled(report)["validate_only"] == "checks"
    assert settled(report)["shapeless"] == "accepted"
    assert emulator.creations == []


def test_validation_without_lists_compares_with_the_models_own_precision(emulator, check):
    emulator.configure(precision_lists="absent")
    code, report = check(*VALIDATE)
    assert code == 0
    assert "FP16 is accepted, FP8 is refused" in details(report)["validateOnly"]
    assert settled(report)["validate_only"] == "checks"


def test_validation_that_accepts_an_unlisted_precision_settles_blind(emulator, check):
    emulator.configure(precision_lists="present", validate_only="blind")
    code, report = check(*VALIDATE)
    assert code == 0
    assert settled(report)["validate_only"] == "blind"
    assert "shapeless" not in settled(report)


def test_validation_without_lists_cannot_settle_blind(emulator, check):
    emulator.configure(precision_lists="absent", validate_only="blind")
    _, report = check(*VALIDATE)
    assert results(report)["validateOnly"] is True
    assert "validate_only" not in settled(report)


@pytest.mark.parametrize("shapeless", ["with_risk", "refused"])
def test_validation_settles_what_happens_without_a_shape(emulator, check, shapeless):
    emulator.configure(precision_lists="present", shapeless=shapeless)
    code, report = check(*VALIDATE)
    assert code == 0
    assert settled(report)["shapeless"] == shapeless


def test_validation_that_is_always_refused_is_not_known(emulator, check):
    emulator.fault("status", status=400, times=-1, method="POST", path="deploymentId", message="no")
    code, report = check(*VALIDATE)
    assert code == 0
    assert results(report)["validateOnly"] is None
    assert "validate_only" not in settled(report)


@pytest.mark.parametrize("create_lag", [0, 0.3])
def test_validation_that_creates_is_deleted_and_ends(emulator, check, create_lag):
    emulator.configure(precision_lists="present", validate_only="creates", create_lag=create_lag)
    code, report = check(*VALIDATE)
    assert code == 1
    assert results(report)["validateOnly"] is False
    assert settled(report)["validate_only"] == "creates"
    assert len(emulator.creations) == 1
    assert emulator.deployments_left == []


def test_validation_whose_response_is_lost_is_deleted(emulator, check):
    emulator.configure(precision_lists="present", validate_only="creates")
    emulator.fault("drop", times=-1, method="POST", path="deploymentId", after_work=True)
    code, report = check(*VALIDATE)
    assert code == 1
    assert settled(report)["validate_only"] == "creates"
    assert emulator.deployments_left == []


def test_created_deployment_that_cannot_be_deleted_is_named(emulator, check):
    emulator.configure(precision_lists="present", validate_only="creates")
    emulator.fault("status", status=403, times=-1, method="DELETE", code=7, message="no")
    code, report = check(*VALIDATE)
    assert code == 1
    (left,) = emulator.deployments_left
    assert left in details(report)["validateOnly"]
    link = f"https://app.fireworks.ai/dashboard/deployments/{left.rpartition('/')[2]}"
    assert link in details(report)["validateOnly"]


# ---- connections that cannot be used


def test_wrong_key_fails_and_nothing_more_is_sent(emulator, check, connect):
    connect(password="fw_wrong_key")
    code, report = check("--model", "my-model")
    assert code == 1
    assert "Check the connection's API key" in details(report)["connection"]
    assert set(results(report).values()) == {False, None}
    assert len(emulator.requests) == 1


def test_no_network_fails_and_nothing_more_is_sent(check, connect):
    connect(host="http://127.0.0.1:1")
    code, report = check("--model", "my-model")
    assert code == 1
    assert set(results(report).values()) == {False, None}
    assert "Check the connection's Base URL, the network and the proxy." in details(report)["connection"]
    assert report["settled"] == []


def test_web_page_in_place_of_the_api_fails(emulator, check):
    emulator.fault("html", times=-1, status=403)
    code, report = check()
    assert code == 1
    assert "Base URL" in details(report)["connection"]


def test_unknown_connection_fails(check):
    code, report = check("--conn-id", "no_such_connection")
    assert code == 1
    assert "no_such_connection" in details(report)["connection"]
    assert (report["baseUrl"], report["accountId"]) == (None, None)


def test_accounts_that_cannot_be_read_leave_the_other_checks(emulator, check):
    emulator.fault("status", status=500, times=-1, path=r"/v1/accounts\?")
    code, report = check("--model", "my-model")
    assert code == 1
    assert results(report)["connection"] is False
    assert "the accounts of the API key are not known" in details(report)["account"]
    assert results(report)["model"] is True


def test_account_of_another_key_fails(emulator, check):
    code, report = check("--account-id", "other")
    assert code == 1
    assert "other is not among the accounts of the API key: demo" in details(report)["account"]


def test_key_of_several_accounts_needs_one(emulator, check, connect):
    emulator.configure(accounts=["demo", "second"])
    connect(login="")
    code, report = check()
    assert code == 1
    assert "several accounts" in details(report)["account"]
    assert results(report)["GPU quotas"] is None

    assert check("--account-id", "second")[1]["accountId"] == "second"


def test_empty_conn_id_reads_the_environment(emulator, check, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_FIREWORKS_DEFAULT")
    monkeypatch.setenv("FIREWORKS_API_KEY", emulator.api_key)
    monkeypatch.setenv("FIREWORKS_BASE_URL", emulator.url)
    code, report = check("--conn-id", "")
    assert code == 0
    assert report["accountId"] == "demo"


# ---- the command line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "My Model"], "Invalid model id 'My Model'"),
        (["--account-id", "../x"], "Invalid account id '../x'"),
        (["--no-such-option"], "unrecognized arguments"),
    ],
)
def test_wrong_command_line_exits_with_2(capsys, arguments, says):
    with pytest.raises(SystemExit) as ended:
        main(["check", *arguments])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_validating_without_a_model_exits_with_2(capsys):
    assert main(["check", "--validate-deployments"]) == 2
    assert "requires --model" in capsys.readouterr().err


@pytest.mark.skipif(airflow.__version__ < "3.2", reason="Airflow 3.0 and 3.1 have no commands of providers")
def test_airflow_command_is_the_same_check(emulator):
    command = [sys.executable, "-m", "airflow", "fireworks", "check", "--json", "--account-id", "other"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert json.loads(done.stdout)["baseUrl"] == emulator.url


def test_output_never_has_the_key(emulator, capsys, connect):
    # The key is also in what the API sends, and in a path of the Base URL.
    emulator.set_model("my-model", status={"code": "INTERNAL", "message": f"bad {emulator.api_key}"})
    for arguments in ([], ["--json"]):
        main(["check", "--model", "my-model", *arguments])
        output = capsys.readouterr()
        assert "bad ***" in output.out
        assert emulator.api_key not in output.out + output.err

    connect(host=f"{emulator.url}/{emulator.api_key}")
    for arguments in ([], ["--json"]):
        main(["check", *arguments])
        output = capsys.readouterr()
        assert emulator.api_key not in output.out + output.err


def test_emulator_of_the_report_settles_the_same(emulator, check, monkeypatch):
    emulator.configure(precision_lists="present", match_shapes="all", gpu_quota=8, shapeless="with_risk")
    _, first = check(*VALIDATE)
    with Emulator(**settled(first)) as same:
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", same.connection)
        _, second = check(*VALIDATE)
    assert settled(second) == settled(first)
    assert len(settled(first)) == 6


def test_program_prints_a_table_and_json_without_a_log(emulator):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    table = subprocess.run(
        [*PROGRAM, "--model", "my-model"], env=environment, capture_output=True, text=True, timeout=120
    )
    assert table.returncode == 0, table.stderr
    assert table.stdout.startswith(f"+ connection           {emulator.url} accepts the API key\n")
    assert "python -m airflow_provider_fireworks.emulator --no-zero-data-retention" in table.stdout

    failed = subprocess.run(
        [*PROGRAM, "--json", "--conn-id", "none"], capture_output=True, text=True, timeout=120
    )
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["settled"] == []


def test_program_reads_a_connection_of_the_database(emulator, monkeypatch):
    connection = emulator.connection
    monkeypatch.delenv("AIRFLOW_CONN_FIREWORKS_DEFAULT")
    for command in (["db", "migrate"], ["connections", "add", "in_database", "--conn-json", connection]):
        subprocess.run(
            [sys.executable, "-m", "airflow", *command], check=True, capture_output=True, timeout=180
        )
    done = subprocess.run(
        [*PROGRAM, "--json", "--conn-id", "in_database"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["baseUrl"] == emulator.url


@pytest.fixture
def validating(emulator):
    """Start a validation, wait until it has created a deployment that cannot be read yet, and return the process."""

    def start(create_lag):
        emulator.configure(precision_lists="present", validate_only="creates", create_lag=create_lag)
        process = subprocess.Popen(
            [*PROGRAM, *VALIDATE],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        deadline = time.monotonic() + 60
        while not emulator.creations and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)
        return process

    started = []
    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["sigint", "sigterm"])
def test_interrupted_program_deletes_what_it_created(emulator, validating, number):
    process = validating(create_lag=3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "Interrupted. It created accounts/demo/deployments/airflow-check-" in errors
    assert emulator.deployments_left == []


def test_program_interrupted_twice_names_what_may_be_left(emulator, validating):
    process = validating(create_lag=60)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert f"{emulator.deployments_left[0]} may exist. Delete it" in errors

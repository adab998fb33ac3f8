"""``python -m airflow_provider_fireworks check`` against emulated APIs that differ in what is not known."""

from __future__ import annotations

import contextlib
import io
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
from airflow_provider_fireworks.check.validation import Validation
from airflow_provider_fireworks.emulator import Emulator
from airflow_provider_fireworks.emulator.deployment_store import DeploymentStore
from airflow_provider_fireworks.emulator.options import Options
from tests.integration.conftest import MODEL
from tests.timing import use_timing

KEY = "fw_3SecretKeyOf24Letters"
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
    [
        (None, False),
        (True, True),
        ({"enabled": False}, False),
        ({"enabled": True}, True),
        ("", None),
        ("DISABLED", None),
        ({}, None),
        ({"enabled": "no"}, None),
        (0, None),
    ],
)
def test_zero_data_retention_is_settled_by_plain_values_only(check, connect, value, is_on):
    def respond(path):
        if path.endswith("/policySettings"):
            return {"zeroDataRetention": value}
        return {"accounts": [{"name": "accounts/demo"}]} if path == "/v1/accounts" else {}

    with serve_json(respond) as url:
        connect(host=url)
        code, report = check()
    assert code == (1 if is_on else 0)
    assert settled(report).get("zero_data_retention") is is_on
    if is_on is None:
        assert details(report)["zero data retention"] == f"not known: zeroDataRetention is {value}"


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


def test_missing_policy_settings_settle_nothing_if_the_accounts_are_not_known(emulator, check):
    emulator.fault("status", status=404, times=-1, path="policySettings")
    emulator.fault("status", status=500, times=-1, path=r"/v1/accounts\?")
    _, report = check()
    assert results(report)["zero data retention"] is None
    assert settled(report) == {}


@pytest.mark.parametrize(
    ("quota", "shown", "value"),
    [
        ({"value": "-1", "usage": 3}, "global--h100-count: 3 of unlimited in use", None),
        ({"value": "0", "usage": 0}, "global--h100-count: 0 of 0 in use", 0),
        ({}, "global--h100-count: ? of ? in use", None),
    ],
)
def test_quota_without_a_limit_is_not_an_option(check, connect, quota, shown, value):
    def respond(path):
        if path.endswith("/quotas"):
            return {"quotas": [{"name": "accounts/demo/quotas/global--h100-count", **quota}]}
        return {"accounts": [{"name": "accounts/demo"}]} if path == "/v1/accounts" else {}

    with serve_json(respond) as url:
        connect(host=url)
        _, report = check()
    assert details(report)["GPU quotas"] == shown
    assert settled(report).get("gpu_quota") == value


def test_accelerators_without_a_quota_are_named(emulator, check):
    emulator.configure(gpu_quota=4)
    _, report = check("--accelerator-type", "NVIDIA_X900_1TB")
    assert "no quota is named after x900, of NVIDIA_X900_1TB" in details(report)["GPU quotas"]
    assert "gpu_quota" not in settled(report)


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


def test_ready_model_with_an_error_is_not_known(emulator, check):
    emulator.configure(stale_status=True)
    code, report = check("--model", "my-model")
    assert code == 0
    assert results(report)["model"] is None
    assert "or of a preparation that has just failed" in details(report)["model"]
    assert "stale_status" not in settled(report)


@pytest.mark.parametrize("fields", [{"kind": "HF_PEFT_ADDON"}, {"state": "UPLOADING"}])
def test_lists_of_an_addon_or_an_unready_model_settle_nothing(emulator, check, fields):
    emulator.set_model("my-model", **fields)
    _, report = check("--model", "my-model")
    assert "not a base model that is READY" in details(report)["precision lists"]
    assert "precision_lists" not in settled(report)


def test_shapes_at_precisions_of_a_listed_family_do_not_settle_all(emulator, check):
    emulator.configure(precision_lists="present", match_shapes="all")
    prepare(emulator, precisions=["FP16", "FP8_MM"])
    _, report = check("--model", "my-model")
    assert "but FP8_MM may cover FP8" in details(report)["deployment shapes"]
    assert "match_shapes" not in settled(report)


def test_failed_model_fails(emulator, check):
    emulator.set_model("my-model", state="FAILED", status={"code": "INTERNAL", "message": "broken"})
    code, report = check("--model", "my-model")
    assert code == 1
    assert "state FAILED, status INTERNAL: broken" in details(report)["model"]


def test_unknown_model_fails_and_its_other_checks_do_not_run(emulator, check):
    code, report = check("--model", "no-model", "--validate-deployments")
    assert code == 1
    assert "accounts/demo/models/no-model does not exist" in details(report)["model"]
    not_run = "precision lists, deployment shapes, validateOnly: the model was not read"
    assert details(report)["not run"] == not_run


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
    assert len(emulator.creations) == 1


def test_created_deployment_that_cannot_be_deleted_is_named(emulator, check):
    emulator.configure(precision_lists="present", validate_only="creates")
    emulator.fault("status", status=403, times=-1, method="DELETE", code=7, message="no")
    code, report = check(*VALIDATE)
    assert code == 1
    (left,) = emulator.deployments_left
    assert left in details(report)["validateOnly"]
    assert report["left"] == [left]


@pytest.fixture
def hidden(emulator):
    """Makes the emulated API create deployments, and respond with 404 to every read of them."""
    emulator.configure(precision_lists="present", validate_only="creates")
    emulator.fault("status", status=404, times=-1, method="GET", path="airflow-check")


def test_every_deployment_that_no_read_has_shown_is_deleted_and_named(emulator, check, hidden):
    prepare(emulator)
    code, report = check(*VALIDATE)
    assert code == 1
    assert len(emulator.creations) == 3
    for created in emulator.creations:
        named = f"accounts/demo/deployments/{created.deployment} was created, and deleted again."
        assert named in details(report)["validateOnly"]
    assert emulator.deployments_left == []
    assert report["left"] == []


def test_refusal_after_the_work_is_watched_like_a_success(emulator, check):
    emulator.configure(precision_lists="present", validate_only="creates", create_lag=0.2)
    emulator.fault("status", status=409, method="POST", path="deploymentId", after_work=True)
    code, report = check(*VALIDATE)
    assert code == 1
    assert settled(report)["validate_only"] == "creates"
    assert len(emulator.creations) == 1
    assert emulator.deployments_left == []


def test_lost_response_is_not_sent_again(emulator, check):
    emulator.configure(precision_lists="present", validate_only="creates", create_lag=0.2)
    emulator.fault("drop", method="POST", path="deploymentId", after_work=True)
    code, _ = check(*VALIDATE)
    assert code == 1
    assert emulator.count("POST", "/deployments") == 1
    assert emulator.deployments_left == []


def test_created_deployment_is_deleted_while_reads_fail(emulator, check):
    emulator.configure(precision_lists="present", validate_only="creates")
    emulator.fault("status", status=503, times=-1, method="GET", path="airflow-check")
    emulator.fault("status", status=503, times=2, method="DELETE")
    code, report = check(*VALIDATE)
    assert code == 1
    assert len(emulator.creations) == 1
    assert emulator.deployments_left == []
    assert settled(report)["validate_only"] == "creates"


def test_failed_read_does_not_change_what_others_have_shown(emulator, check):
    emulator.configure(precision_lists="present")
    emulator.fault("status", status=503, times=1, method="GET", path="airflow-check")
    code, report = check(*VALIDATE)
    assert code == 0
    assert "no deployment appeared within 0.6 s" in details(report)["validateOnly"]


def test_validation_sends_few_requests(emulator, check):
    emulator.configure(precision_lists="present")
    check(*VALIDATE)
    validated = emulator.count("POST", "/deployments")
    assert validated == 3
    assert emulator.count("GET", "airflow-check") == 10
    assert emulator.count("DELETE") == 2


def test_validation_over_a_rate_limit_deletes_what_it_created(emulator, check, monkeypatch):
    use_timing(monkeypatch, cleanup_timeout=0.3)
    emulator.configure(precision_lists="present", validate_only="creates", requests_per_minute=7)
    code, report = check(*VALIDATE)
    assert code == 1
    assert len(emulator.creations) == 1
    # The limit leaves no request to delete it.
    assert report["left"] == emulator.deployments_left


def test_retry_after_is_honoured_before_the_next_request(emulator, check):
    emulator.configure(precision_lists="present", validate_only="creates")
    emulator.fault("status", status=429, retry_after="0.5", method="GET", path="airflow-check")
    check(*VALIDATE)
    at = {each.method: each.at for each in emulator.requests if "airflow-check-" in each.path}
    refused = next(each.at for each in emulator.requests if "airflow-check-" in each.path)
    assert at["DELETE"] - refused >= 0.5
    assert emulator.deployments_left == []


def test_deployment_with_another_id_is_named_and_not_deleted(emulator, check, monkeypatch, capsys):
    create = DeploymentStore.create
    monkeypatch.setattr(
        DeploymentStore,
        "create",
        lambda self, account, _, *rest, **more: create(self, account, None, *rest, **more),
    )
    emulator.configure(precision_lists="present", validate_only="creates")
    code, report = check(*VALIDATE)
    assert code == 1
    assert len(emulator.creations) == 1
    assert report["left"] == emulator.deployments_left
    assert (
        f"{report['left'][0]} may exist, and was not deleted: it was named" in details(report)["validateOnly"]
    )


def test_validation_without_any_answer_fails(emulator, check):
    emulator.fault("status", status=503, times=-1, method="POST", path="deploymentId")
    code, report = check(*VALIDATE)
    assert code == 1
    assert details(report)["validateOnly"].startswith("nothing was validated\n")
    assert "validate_only" not in settled(report)


def test_risk_that_was_never_accepted_settles_no_shape(emulator, check):
    emulator.configure(precision_lists="present", shapeless="with_risk")
    emulator.fault("status", status=503, times=1, path="acceptShapelessRisk")
    emulator.fault("status", status=400, times=-1, path="acceptShapelessRisk", message="another reason")
    _, report = check(*VALIDATE)
    assert results(report)["validateOnly"] is True
    assert "shapeless" not in settled(report)


def test_accepted_precision_of_a_listed_family_does_not_settle_blind(emulator, check):
    emulator.configure(precision_lists="present", validate_only="blind", match_shapes="all")
    prepare(emulator, precisions=["FP16", "FP8_MM", "FP4_MX_MOE"])
    _, report = check(*VALIDATE)
    assert "but FP8_MM may cover FP8" in details(report)["validateOnly"]
    assert "validate_only" not in settled(report)


def test_unexpected_error_deletes_what_was_created_and_exits_with_70(emulator, monkeypatch, capsys):
    emulator.configure(precision_lists="present", validate_only="creates", create_lag=0.3)

    def fail(*_):
        # For the first watch only.
        monkeypatch.setattr(Validation, "_watch", watch)
        raise RuntimeError(f"broken by {emulator.api_key}")

    watch = Validation._watch
    monkeypatch.setattr(Validation, "_watch", fail)
    assert main(["check", *VALIDATE]) == 70
    output = capsys.readouterr()
    assert output.err.endswith("error: RuntimeError: broken by ***\n")
    assert "was created, and deleted again." in output.out
    assert emulator.deployments_left == []


def test_broken_stderr_does_not_prevent_the_clean_up(emulator, monkeypatch, capsys):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    emulator.configure(precision_lists="present", validate_only="creates", create_lag=0.3)
    monkeypatch.setattr(sys, "stderr", Broken())
    assert main(["check", *VALIDATE]) == 1
    assert emulator.deployments_left == []


# ---- connections that cannot be used


def test_wrong_key_fails_and_nothing_more_is_sent(emulator, check, connect):
    connect(password="fw_wrong_key")
    code, report = check("--model", "my-model")
    assert code == 1
    assert "Check the connection's API key" in details(report)["connection"]
    assert results(report) == {"connection": False, "not run": None}
    assert report["settled"] == []
    assert len(emulator.requests) == 1


def test_no_network_fails_and_nothing_more_is_sent(check, connect):
    connect(host="http://127.0.0.1:1")
    code, report = check("--model", "my-model")
    assert code == 1
    assert results(report) == {"connection": False, "not run": None}
    assert "Check the connection's Base URL, the network and the proxy." in details(report)["connection"]
    assert report["settled"] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"login": KEY, "password": "demo"},
        {"login": KEY},
        {"login": KEY.upper(), "password": "other"},
        {"host": KEY, "password": "https://api.fireworks.ai"},
        {"host": f"https://api.fireworks.ai/?key={KEY}"},
        {"host": f"http://{KEY}"},
    ],
)
def test_key_in_a_wrong_field_is_never_shown(check, connect, fields):
    connect(**fields)
    code, report = check()
    assert code == 1
    assert "password" in details(report)["connection"]
    assert KEY.lower() not in json.dumps(report).lower()


def test_api_that_hangs_is_given_up_soon(emulator, check, monkeypatch):
    use_timing(monkeypatch, response_timeout=0.2)
    emulator.fault("hang", times=-1, delay=5)
    code, report = check()
    assert code == 1
    assert report["checks"][0]["detail"].endswith(
        "Check the connection's Base URL, the network and the proxy."
    )


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
    assert "zero data retention, GPU quotas: it is not an account" in details(report)["not run"]
    assert report["settled"] == []
    assert len(emulator.requests) == 1


def test_key_of_several_accounts_needs_one(emulator, check, connect):
    emulator.configure(accounts=["demo", "second"])
    connect(login="")
    code, report = check()
    assert code == 1
    assert "several accounts" in details(report)["account"]
    assert "GPU quotas: the account is not known" in details(report)["not run"]

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
        (["--account-id", KEY], "Invalid account id '***'"),
        (["--no-such-option"], "unrecognized arguments"),
        (["--validate"], "unrecognized arguments: --validate"),
        (None, "the only command is check"),
    ],
)
def test_wrong_command_line_exits_with_2(capsys, arguments, says):
    with pytest.raises(SystemExit) as ended:
        main([] if arguments is None else ["check", *arguments])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_command_emulator_names_the_emulators_program(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["emulator"])
    assert ended.value.code == 2
    assert "started with: python -m airflow_provider_fireworks.emulator\n" in capsys.readouterr().err


def test_help_names_the_command_once(capsys):
    for arguments in (["--help"], ["check", "--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert capsys.readouterr().out.startswith("usage: python -m airflow_provider_fireworks check [-h]")


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


@pytest.mark.parametrize("gone", ["pipe", "disk"])
def test_program_whose_output_cannot_be_written_ends_quietly(emulator, gone):
    if gone == "pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open("/dev/full", os.O_WRONLY)
    try:
        done = subprocess.run([*PROGRAM], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (70, "")
    assert len(emulator.requests) == 1


# Like the program, with a shorter visibility_lag than 30 s.
QUICK_PROGRAM = """
import sys
from dataclasses import replace
from airflow_provider_fireworks.check.cli import interrupt_on_signals, main
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
FireworksHook.timing = replace(FireworksHook.timing, visibility_lag=float(sys.argv.pop(1)), min_delete_delay=0.1)
interrupt_on_signals()
sys.exit(main())
"""


def _heed_signals() -> None:
    """Undo what a shell in the background and nohup do."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def validating(emulator):
    """Start a validation, wait until it has created a deployment that cannot be read yet, and return the process."""

    def start(create_lag, visibility_lag):
        emulator.configure(precision_lists="present", validate_only="creates", create_lag=create_lag)
        process = subprocess.Popen(
            [sys.executable, "-c", QUICK_PROGRAM, str(visibility_lag), "check", "--json", *VALIDATE],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_signals,
        )
        started.append(process)
        deadline = time.monotonic() + 60
        while not emulator.creations and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        return process

    started = []
    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name)
def test_interrupted_program_deletes_what_it_created(emulator, validating, number):
    process = validating(create_lag=1, visibility_lag=2)
    process.send_signal(number)
    if number == signal.SIGHUP:
        # Sent by the kernel and by the shell.
        time.sleep(0.3)
        process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.endswith("\nInterrupted.\n")
    assert "Traceback" not in errors
    assert emulator.deployments_left == []
    report = json.loads(output)
    assert "was created, and deleted again." in details(report)["validateOnly"]
    assert settled(report)["precision_lists"] == "present"
    assert report["left"] == []


def test_program_interrupted_twice_warns_of_what_may_be_left(emulator, validating):
    process = validating(create_lag=60, visibility_lag=30)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    (left,) = emulator.deployments_left
    assert process.returncode == 1, errors
    assert "Traceback" not in errors
    assert json.loads(output)["left"] == [left]
    warning, link, command = errors.splitlines()[-3:]
    assert warning.startswith(f"WARNING: {left} may exist, and IT MAY COST MONEY.")
    assert link == f"  https://app.fireworks.ai/dashboard/deployments/{left.rpartition('/')[2]}"
    assert command.endswith(f'"{emulator.url}/v1/{left}?hard=true&ignoreChecks=true"')
    assert "$FIREWORKS_API_KEY" in command
    subprocess.run(
        command, shell=True, check=True, timeout=20, env={**os.environ, "FIREWORKS_API_KEY": emulator.api_key}
    )
    assert f"{emulator.requests[-1].method} {emulator.requests[-1].path}".startswith(f"DELETE /v1/{left}")

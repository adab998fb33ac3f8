"""What emulated deployments answer, and how fast."""

from __future__ import annotations

import json
import time

import fireworks
import pytest

from airflow_provider_fireworks.emulator.answers import pauses

CHAT = "/inference/v1/chat/completions"
MODEL = "accounts/demo/models/my-model#accounts/demo/deployments/"


@pytest.fixture
def emulator(emulator):
    emulator.configure(duration=0, deploy_duration=0, quality={"FP4": 0.8}, speed={"FP4": 50, "FP8": 1000})
    return emulator


@pytest.fixture
def ask(client):
    """Ask the deployment at a precision, which is created at the first question."""
    deployed = set()

    def ask(precision: str, question: str, **fields: object):
        if precision not in deployed:
            client.prepare(precision=precision)
            assert client.deploy(precision.lower(), precision=precision).status_code == 200
            deployed.add(precision)
        body = {
            "model": f"{MODEL}{precision.lower()}",
            "messages": [{"role": "user", "content": question}],
            **fields,
        }
        response = client("POST", CHAT, json=body)
        assert response.status_code == 200, response.text
        return response

    return ask


def text(response) -> str:
    return response.json()["choices"][0]["message"]["content"]


def test_share_of_right_answers_is_that_of_the_precision(ask):
    questions = {f"What is {number} * 3? Answer with the number.": str(number * 3) for number in range(10)}
    right = {
        precision: [text(ask(precision, question)) == answer for question, answer in questions.items()]
        for precision in ("FP4", "FP8")
    }
    assert right["FP8"] == [True] * 10
    # One of five in a row is wrong.
    assert [right["FP4"][:5].count(True), right["FP4"][5:].count(True)] == [4, 4]


@pytest.mark.parametrize(("question", "answer"), [("What is 2 + 3?", "5"), ("What is 2-3?", "-1")])
def test_known_questions_are_answered(ask, question, answer):
    assert text(ask("FP8", question)) == answer
    assert "emulated" in text(ask("FP8", "Hello."))


def test_stream_sends_a_token_per_event(ask):
    response = ask("FP8", "Hello.", stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"] == "text/event-stream"
    *events, last, end = response.text.split("\n\n")
    assert (last, end) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    words = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"]]
    assert "".join(words) == "This is the emulated API. There is no model behind it."
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["completion_tokens"]) == ([], 11)
    plain = ask("FP8", "Hello.", stream=True)
    assert "usage" not in plain.text


def test_first_token_takes_as_long_as_ten_others():
    assert pauses(3, 50) == [0.2, 0.02, 0.02]
    assert pauses(2, None) == [0, 0]


@pytest.mark.parametrize("stream", [True, False])
def test_answer_is_sent_at_the_speed_of_the_precision(ask, stream):
    began = time.monotonic()
    ask("FP4", "Hello.", stream=stream)
    assert time.monotonic() - began >= 20 / 50


def test_official_sdk_reads_the_stream(emulator, ask):
    ask("FP8", "Hello.")
    sdk = fireworks.Fireworks(
        api_key=emulator.api_key, account_id="demo", base_url=f"{emulator.url}/inference", max_retries=0
    )
    chunks = sdk.chat.completions.create(
        model=f"{MODEL}fp8", messages=[{"role": "user", "content": "What is 20 + 22?"}], stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "42"
    sdk.close()


def test_broken_stream_ends_in_the_middle(emulator, ask):
    emulator.fault("truncate", path="chat", after_work=True)
    with pytest.raises(Exception, match=r"IncompleteRead|broken"):
        ask("FP8", "Hello.", stream=True)

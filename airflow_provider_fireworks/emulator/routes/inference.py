"""``/inference/v1/chat/completions``."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.emulator.answers import answer, pauses
from airflow_provider_fireworks.emulator.responses import ErrorResponse, Response, as_json, inference_error
from airflow_provider_fireworks.emulator.routes.routing import Route, RoutedRequest
from airflow_provider_fireworks.emulator.schema import ChatBody, parse

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.state import State


def chat(state: State, request: RoutedRequest) -> Response:
    body = parse(ChatBody, request.body)
    served_by = state.routers.resolve(body.model)
    result = state.deployments.infer(served_by)
    if result == "not_deployed":
        message = "Model not found, inaccessible, and/or not deployed"
        return inference_error(404, "NOT_FOUND", message)
    if result == "scaling_up":
        message = "The deployment is scaling up from zero replicas"
        return inference_error(503, "DEPLOYMENT_SCALING_UP", message)
    text, speed = _answer(state, served_by, str(body.messages[-1].content or ""))
    # Each word is a token.
    words = re.findall(r"\S+\s*", text)
    waits = pauses(len(words), speed)
    prompt = sum(len(str(message.content or "").split()) for message in body.messages)
    common = {
        "id": f"chatcmpl-{uuid.uuid4()}",
        "created": int(state.clock()),
        "model": body.model,
    }
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": len(words),
        "total_tokens": prompt + len(words),
    }
    # Which deployment a router has chosen; the real API does not tell.
    headers = {"x-emulator-deployment": served_by.rpartition("#")[2]}
    if body.stream:
        with_usage = bool((body.stream_options or {}).get("include_usage"))
        return _streamed(common, words, waits, usage if with_usage else None, headers)
    reply = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": reply, "finish_reason": "stop"}]
    whole = as_json(
        {**common, "object": "chat.completion", "choices": choices, "usage": usage}, headers=headers
    )
    return replace(whole, pauses=[(len(whole.body), sum(waits))])


def _answer(state: State, model: str, question: str) -> tuple[str, float | None]:
    """Return the answer to a question, and the tokens per second of the deployment."""
    deployment, options = state.deployments.named(model), state.options
    if deployment is None:
        return answer(question, 1, 0)[0], None
    precision = deployment.served_precision
    text, is_known = answer(question, options.quality.get(precision, 1), deployment.answered)
    deployment.answered += is_known
    return text, options.speed.get(precision)


def _streamed(
    common: dict[str, Any],
    words: list[str],
    waits: list[float],
    usage: dict[str, int] | None,
    headers: dict[str, str],
) -> Response:
    """Return an answer as server-sent events: one for each word, one for the end, and one for the usage."""

    def event(choices: list[dict[str, Any]], **fields: Any) -> bytes:
        chunk = {**common, "object": "chat.completion.chunk", "choices": choices, **fields}
        return f"data: {json.dumps(chunk)}\n\n".encode()

    events = [
        event([{"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}])
        for word in words
    ]
    rest = event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    if usage is not None:
        rest += event([], usage=usage)
    events.append(rest + b"data: [DONE]\n\n")
    lengths = [len(one) for one in events]
    return Response(
        200,
        b"".join(events),
        "text/event-stream",
        headers,
        pauses=list(zip(lengths, [*waits, 0], strict=True)),
    )


def _refuse(error: ErrorResponse) -> Response:
    return inference_error(400, error.code, error.message)


ROUTES = [Route("POST", "/inference/v1/chat/completions", "chat", chat, on_error=_refuse)]

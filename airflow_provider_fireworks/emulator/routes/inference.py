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
    if body.stream:
        raise ErrorResponse("INVALID_ARGUMENT", "stream is not emulated")
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
    completion = len(_REPLY.split())
    return as_json(
        {
            "id": f"chatcmpl-{uuid.uuid4()}",
            "object": "chat.completion",
            "created": int(state.clock()),
            "model": body.model,
            "choices": [{"index": 0, "message": reply, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
            },
        },
        # Which deployment a router has chosen; the real API does not tell.
        headers={"x-emulator-deployment": served_by.rpartition("#")[2]},
    )


def _refuse(error: ErrorResponse) -> Response:
    return inference_error(400, error.code, error.message)


ROUTES = [Route("POST", "/inference/v1/chat/completions", "chat", chat, on_error=_refuse)]

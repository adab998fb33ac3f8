"""``/inference/v1/chat/completions``: what a deployment answers when it is asked something."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.emulator.api.routing import Call, Route
from airflow_provider_fireworks.emulator.responses import ErrorResponse, Response, as_json, inference_error
from airflow_provider_fireworks.emulator.schema import ChatBody, parse

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.state import State

_REPLY = "This is the emulated API. There is no model behind it."


def chat(state: State, call: Call) -> Response:
    try:
        call.allow_query()
        body = parse(ChatBody, call.body)
        if body.stream:
            raise ErrorResponse("INVALID_ARGUMENT", "stream is not emulated")
    except ErrorResponse as error:
        return inference_error(400, error.name, error.message)
    met = state.fleet.serve(body.model)
    if met == "not_deployed":
        message = "Model not found, inaccessible, and/or not deployed"
        return inference_error(404, "NOT_FOUND", message)
    if met == "scaling_up":
        return inference_error(
            503, "DEPLOYMENT_SCALING_UP", "The deployment is scaling up from zero replicas"
        )
    return as_json(_completion(body, state.clock()))


def _completion(body: ChatBody, at: float) -> dict[str, Any]:
    asked = sum(len(str(message.content or "").split()) for message in body.messages)
    said = len(_REPLY.split())
    return {
        "id": f"chatcmpl-{uuid.uuid4()}",
        "object": "chat.completion",
        "created": int(at),
        "model": body.model,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": _REPLY}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
    }


ROUTES = [Route("POST", "/inference/v1/chat/completions", "chat", chat)]

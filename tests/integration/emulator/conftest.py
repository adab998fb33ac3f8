from __future__ import annotations

import pytest
import requests

from airflow_provider_fireworks.emulator import Emulator


class Client:
    """A plain HTTP client with the API key."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {emulator.api_key}"

    def __call__(self, method: str, path: str, **how: object) -> requests.Response:
        how.setdefault("timeout", 5)
        return self.session.request(method, self._emulator.url + path, allow_redirects=False, **how)

    def get(self, path: str, **query: object) -> requests.Response:
        return self("GET", path, params=query)

    def prepare(
        self, model: str = "my-model", precision: str | None = "FP8", account: str = "demo", **fields: object
    ) -> requests.Response:
        body = {**({"precision": precision} if precision else {}), **fields}
        return self("POST", f"/v1/accounts/{account}/models/{model}:prepare", json=body)

    def model(self, model: str = "my-model") -> dict[str, object]:
        response = self.get(f"/v1/accounts/demo/models/{model}")
        assert response.status_code == 200, response.text
        return response.json()

    def deploy(
        self, deployment: str | None = "d", *, query: dict[str, str] | None = None, **fields: object
    ) -> requests.Response:
        body = {"baseModel": "accounts/demo/models/my-model", "acceleratorType": "NVIDIA_H100_80GB", **fields}
        body = {name: value for name, value in body.items() if value is not None}
        params = {**({"deploymentId": deployment} if deployment else {}), **(query or {})}
        return self("POST", "/v1/accounts/demo/deployments", params=params, json=body)

    def deployment(self, deployment: str = "d") -> dict[str, object]:
        response = self.get(f"/v1/accounts/demo/deployments/{deployment}")
        assert response.status_code == 200, response.text
        return response.json()

    def chat(self, model: str = "accounts/demo/models/my-model", deployment: str = "d") -> requests.Response:
        return self.infer(f"{model}#accounts/demo/deployments/{deployment}")

    def infer(self, model: str) -> requests.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello."}]}
        return self("POST", "/inference/v1/chat/completions", json=body)


@pytest.fixture
def emulator():
    with Emulator(duration=0.5, deploy_duration=0.3, scale_duration=0.2) as emulator:
        yield emulator


@pytest.fixture
def client(emulator):
    client = Client(emulator)
    yield client
    client.session.close()

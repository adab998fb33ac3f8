from __future__ import annotations

import pytest
import requests

from airflow_provider_fireworks.emulator import Emulator


class Client:
    """A plain client with the key, for one emulator."""

    def __init__(self, gateway: Emulator) -> None:
        self._gateway = gateway
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {gateway.api_key}"

    def __call__(self, method: str, path: str, **how: object) -> requests.Response:
        how.setdefault("timeout", 5)
        return self.session.request(method, self._gateway.url + path, allow_redirects=False, **how)

    def get(self, path: str, **query: object) -> requests.Response:
        return self("GET", path, params=query)

    def prepare(
        self, model: str = "my-model", precision: str = "FP8", account: str = "demo"
    ) -> requests.Response:
        return self("POST", f"/v1/accounts/{account}/models/{model}:prepare", json={"precision": precision})

    def model(self, model: str = "my-model") -> dict[str, object]:
        answer = self.get(f"/v1/accounts/demo/models/{model}")
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def gateway():
    with Emulator(duration=0.5) as emulator:
        yield emulator


@pytest.fixture
def client(gateway):
    client = Client(gateway)
    yield client
    client.session.close()

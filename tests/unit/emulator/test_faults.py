from __future__ import annotations

import pytest
from pydantic import ValidationError

from airflow_provider_fireworks.emulator.faults import Fault, Faults


@pytest.mark.parametrize(
    ("fields", "meets"),
    [
        ({}, True),
        ({"method": "get"}, True),
        ({"method": "POST"}, False),
        ({"path": "/models/"}, True),
        ({"path": "/deployments/"}, False),
        ({"path": "my-model?readMask=state"}, True),
        ({"path": r"/models/[a-z-]+\?"}, True),
        ({"path": r"/models$"}, False),
        ({"method": "GET", "path": "/deployments"}, False),
    ],
)
def test_which_requests_it_happens_to(fields, meets):
    fault = Fault(kind="status", **fields)
    assert fault.meets("GET", "/v1/accounts/demo/models/my-model?readMask=state") is meets


def test_they_happen_in_order_and_as_often_as_ordered():
    faults = Faults()
    posts = Fault(kind="drop", method="POST")
    for fault in (posts, Fault(kind="status", times=2), Fault(kind="html")):
        faults.add(fault)
    taken = [faults.take("GET", "/") for _ in range(4)]
    assert [fault and fault.kind for fault in taken] == ["status", "status", "html", None]
    assert faults.waiting() == [posts]
    assert faults.take("POST", "/").kind == "drop"
    assert posts.times == 1, "what was handed in is not changed"


def test_for_ever_is_until_cleared():
    faults = Faults()
    faults.add(Fault(kind="status", times=-1))
    assert all(faults.take("GET", "/") for _ in range(50))
    faults.clear()
    assert faults.take("GET", "/") is None


@pytest.mark.parametrize(
    ("kind", "status", "delay"),
    [
        ("status", 503, 0),
        ("html", 502, 0),
        ("truncate", 200, 0),
        ("drop", None, 0),
        ("slow", None, 1),
        ("hang", None, 3600),
        ("trickle", None, 1),
        ("huge", 200, 0),
    ],
)
def test_defaults_by_kind(kind, status, delay):
    fault = Fault(kind=kind)
    assert (fault.status, fault.delay) == (status, delay)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "fire"},
        {"kind": "status", "times": 0},
        {"kind": "status", "times": -2},
        {"kind": "status", "status": 99},
        {"kind": "status", "path": "("},
        {"kind": "status", "location": "/"},
        {"kind": "redirect"},
        {"kind": "status", "statuss": 500},
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        Fault(**wrong)

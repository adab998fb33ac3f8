"""Which requests a fault applies to, and how often."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from airflow_provider_fireworks.emulator.faults import Fault, Faults


@pytest.mark.parametrize(
    ("fields", "applies"),
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
def test_fault_applies_to_method_and_path(fields, applies):
    fault = Fault(kind="status", **fields)
    assert fault.applies_to("GET", "/v1/accounts/demo/models/my-model?readMask=state") is applies


def test_faults_are_taken_in_order_and_counted_down():
    faults = Faults()
    posts = Fault(kind="drop", method="POST")
    for fault in (posts, Fault(kind="status", times=2), Fault(kind="html")):
        faults.add(fault)
    taken = [faults.take("GET", "/") for _ in range(4)]
    assert [fault and fault.kind for fault in taken] == ["status", "status", "html", None]
    assert faults.pending() == [posts]
    assert faults.take("POST", "/").kind == "drop"
    assert posts.times == 1, "the caller's fault is not changed"


def test_fault_without_a_limit_is_pending_until_cleared():
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
def test_status_and_delay_have_defaults_for_each_kind(kind, status, delay):
    fault = Fault(kind=kind)
    assert (fault.status, fault.delay) == (status, delay)


@pytest.mark.parametrize(
    "fields",
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
def test_invalid_fault_is_refused(fields):
    with pytest.raises(ValidationError):
        Fault(**fields)

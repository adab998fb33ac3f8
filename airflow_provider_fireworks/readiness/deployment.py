"""
Whether a deployment is ready: one decision, asked by the sensor, the operators and the trigger alike.

The rows stand in ``docs/readiness.md``. Ready means that the gateway says so; it is no proof that inference
answers, which only asking it can tell (``wait_for_inference``).
"""

from __future__ import annotations

from airflow_provider_fireworks.client.shapes import Deployment, Status
from airflow_provider_fireworks.verdict import Outcome, Verdict


def judge(deployment: Deployment | None, *, replica_count: int | None = None) -> Verdict:
    """
    Return whether a deployment is ready, still pending, or never will be, and why.

    :param deployment: as read now, ``None`` where the gateway says that there is none (any more).
    :param replica_count: replicas that it is to have come to; ``None`` takes any number of them, zero included.
    """
    if deployment is None:
        return Verdict(Outcome.FAILED, "it was deleted while it was waited for")
    state = deployment.state or "unset"
    if state in ("DELETING", "DELETED"):
        return Verdict(Outcome.FAILED, f"its state is {state}: it was deleted while it was waited for")
    if state == "FAILED":
        return Verdict(
            Outcome.FAILED, f"its state is FAILED, with the status {deployment.status or Status()}"
        )
    replicas = _replicas(deployment)
    if state != "READY":
        return Verdict(Outcome.PENDING, f"its state is {state}{replicas}")
    if replica_count is not None and not _has_come_to(deployment, replica_count):
        return Verdict(Outcome.PENDING, f"its state is READY{replicas}, not with {replica_count} yet")
    if deployment.ready_replicas == 0 and not replicas:
        return Verdict(Outcome.READY, "its state is READY, scaled to zero: the first request wakes it")
    return Verdict(Outcome.READY, f"its state is READY{replicas}")


def _has_come_to(deployment: Deployment, replica_count: int) -> bool:
    ready = deployment.ready_replicas
    if ready is None:
        # A gateway that counts no replicas can only be taken by its word.
        return True
    # More than was asked for may be the autoscaler's work; more than none still costs something.
    return ready >= replica_count if replica_count else not (ready or deployment.replica_count)


def _replicas(deployment: Deployment) -> str:
    counted = str(deployment.replica_stats or "")
    return f" (replicas: {counted})" if counted else ""

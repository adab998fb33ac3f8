"""
Whether a deployment is ready: one decision, which the sensor, the operators and the trigger share.

The rows of the decision table are in ``docs/readiness.md``. READY does not mean that inference already answers: only an
inference request can tell (``wait_for_inference``).
"""

from __future__ import annotations

from airflow_provider_fireworks.client.resources import Deployment, Status
from airflow_provider_fireworks.polling import Outcome, Verdict


def judge_deployment(deployment: Deployment | None, *, replica_count: int | None = None) -> Verdict:
    """
    Return whether a deployment is ready, still pending, or never will be, and why.

    :param deployment: as it was read just now, ``None`` if it does not exist any more.
    :param replica_count: the requested replicas; ``None`` accepts any number, zero included.
    """
    if deployment is None:
        return Verdict(Outcome.FAILED, "it was deleted while it was waited for")
    state = deployment.state or "unset"
    if state in ("DELETING", "DELETED"):
        return Verdict(Outcome.FAILED, f"its state is {state}: it was deleted while it was waited for")
    status = deployment.status or Status()
    if state == "FAILED":
        return Verdict(Outcome.FAILED, f"its state is FAILED, with the status {status}")
    counted = str(deployment.replica_stats or "")
    replicas = f" (replicas: {counted})" if counted else ""
    if state != "READY":
        shown = f", with the status {status}" if status.is_error else ""
        return Verdict(Outcome.PENDING, f"its state is {state}{shown}{replicas}")
    if replica_count is not None and not _has_replicas(deployment, replica_count):
        return Verdict(Outcome.PENDING, f"its state is READY{replicas}, but not with {replica_count} yet")
    if deployment.ready_replicas == 0 and not replicas:
        return Verdict(Outcome.READY, "its state is READY, scaled to zero: the first request wakes it")
    return Verdict(Outcome.READY, f"its state is READY{replicas}")


def lacks_capacity(deployment: Deployment) -> bool:
    """Whether Fireworks has no GPUs for a deployment: it is still being created, and its status says so."""
    is_creating = deployment.state == "CREATING" and not _counted_ready(deployment)
    return is_creating and (deployment.status or Status()).lacks_capacity


def may_serve(deployment: Deployment) -> bool:
    """
    Whether inference may answer already, although the deployment is not READY: its state can lag behind.

    A deployment may serve unless the API says that it has no ready replica.
    """
    if deployment.state in ("FAILED", "DELETING", "DELETED") or lacks_capacity(deployment):
        return False
    return deployment.replica_stats is None or _counted_ready(deployment)


def _counted_ready(deployment: Deployment) -> bool:
    """Whether the API counts a ready replica."""
    return deployment.replica_stats is not None and bool(deployment.replica_stats.ready_replica_count)


def _has_replicas(deployment: Deployment, requested: int) -> bool:
    ready = deployment.ready_replicas
    if ready is None:
        # Without counts, the state is all there is to go by.
        return True
    # The autoscaler may have added some. Scaled to zero means that no replica is left, starting ones included.
    return ready >= requested if requested else not (ready or deployment.replica_count)

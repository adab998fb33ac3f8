"""Creating deployments, scaling them, deleting them, and finding those that were left behind."""

from __future__ import annotations

from airflow_provider_fireworks.operators.deployment.create import FireworksCreateDeploymentOperator
from airflow_provider_fireworks.operators.deployment.delete import FireworksDeleteDeploymentOperator
from airflow_provider_fireworks.operators.deployment.scale import FireworksScaleDeploymentOperator
from airflow_provider_fireworks.operators.deployment.sweep import FireworksSweepDeploymentsOperator

__all__ = [
    "FireworksCreateDeploymentOperator",
    "FireworksDeleteDeploymentOperator",
    "FireworksScaleDeploymentOperator",
    "FireworksSweepDeploymentsOperator",
]

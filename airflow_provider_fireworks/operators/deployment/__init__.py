"""The operators that create, scale and delete deployments, and find those that are orphaned."""

from __future__ import annotations

from airflow_provider_fireworks.operators.deployment.create import FireworksCreateDeploymentOperator
from airflow_provider_fireworks.operators.deployment.delete import FireworksDeleteDeploymentOperator
from airflow_provider_fireworks.operators.deployment.scale import FireworksScaleDeploymentOperator
from airflow_provider_fireworks.operators.deployment.sweep import FireworksSweepDeploymentsOperator
from airflow_provider_fireworks.operators.deployment.temporary import (
    TemporaryDeployment,
    temporary_deployment,
)

__all__ = [
    "FireworksCreateDeploymentOperator",
    "FireworksDeleteDeploymentOperator",
    "FireworksScaleDeploymentOperator",
    "FireworksSweepDeploymentsOperator",
    "TemporaryDeployment",
    "temporary_deployment",
]

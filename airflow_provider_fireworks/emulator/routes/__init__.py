"""The paths of the emulated API: a module for each resource, with its handlers and routes."""

from __future__ import annotations

from airflow_provider_fireworks.emulator.routes import (
    accounts,
    deployments,
    inference,
    models,
    routers,
    shapes,
)

API_ROUTES = [
    *accounts.ROUTES,
    *models.ROUTES,
    *deployments.ROUTES,
    *shapes.ROUTES,
    *routers.ROUTES,
    *inference.ROUTES,
]

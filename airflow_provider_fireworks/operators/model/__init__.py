"""The operators that upload a model, and that request its preparation."""

from __future__ import annotations

from airflow_provider_fireworks.operators.model.prepare import FireworksPrepareModelOperator
from airflow_provider_fireworks.operators.model.upload import FireworksUploadModelOperator

__all__ = ["FireworksPrepareModelOperator", "FireworksUploadModelOperator"]

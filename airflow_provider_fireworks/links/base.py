"""What links to the Fireworks console share."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

CONSOLE = "https://app.fireworks.ai"
"""Where people look at their models and deployments. Its paths are not documented, but the vendor's SDK prints them."""


class FireworksLink(BaseOperatorLink):
    """
    A link that is told from what the task has pushed to XCom, so that it is there while the task is deferred.

    Airflow asks for it on the worker, whenever a task ends there or is deferred.
    """

    def pushed(self, ti_key: Any, key: str) -> str | None:
        """Return what the task has pushed under this key, ``None`` if nothing (yet)."""
        from airflow.providers.common.compat.sdk import XCom

        value = XCom.get_value(ti_key=ti_key, key=key)
        return value if isinstance(value, str) else None

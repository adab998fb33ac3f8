"""The API's HTTP API: a module per resource, each with the routes that it answers."""

from __future__ import annotations

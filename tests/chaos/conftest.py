from __future__ import annotations

from tests.programs import end_early, folder, leftovers, start

__all__ = ["end_early", "folder", "leftovers", "start"]

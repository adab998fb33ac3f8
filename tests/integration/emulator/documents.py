"""Where the published OpenAPI files are. They are not part of this project and can be missing."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(os.environ.get("FIREWORKS_OPENAPI_DIR") or Path(__file__).parents[4] / "shared" / "fireworks")
GATEWAY = FOLDER / "gateway-openapi-4.259.0.yaml"
PREPARE = FOLDER / "prepare-model.openapi.yaml"

ABSENT = not (GATEWAY.is_file() and PREPARE.is_file())
WHY = "the published OpenAPI files are missing: set FIREWORKS_OPENAPI_DIR to their folder"

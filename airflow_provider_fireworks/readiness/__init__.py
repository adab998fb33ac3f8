"""Whether a model or a deployment is ready, pending or failed: pure functions of what was read."""

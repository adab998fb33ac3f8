"""``python -m airflow_provider_fireworks check``: shows what the API behind a connection does."""

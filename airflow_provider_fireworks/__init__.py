"""Apache Airflow provider for the Fireworks AI control plane."""

__version__ = "0.2.0"

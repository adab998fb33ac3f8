"""
A whole Airflow on this machine, for as long as it is needed: for the demo, the end-to-end tests and the chaos runs.

It is for development only and not part of the provider.
"""

"""Decisions about a deployment: who owns it, whether it is ready, how to create and delete it. Sends nothing."""

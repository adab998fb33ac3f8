"""Decisions about a router: who owns it, what it should route to, whether it is ready. Sends nothing."""

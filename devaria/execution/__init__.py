"""Run one job in a process of its own, and find how it ended."""

"""The runner: its loop, and the way of one job through it."""

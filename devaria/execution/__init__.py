"""Running one job in a process of its own, and how it ended."""

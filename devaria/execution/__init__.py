"""One job in one process."""

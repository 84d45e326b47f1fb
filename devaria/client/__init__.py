"""The wire contract, as a client of the worker sees it."""

"""Ranges of one remote file over HTTP."""

"""The routes of the local worker."""

"""The pages of the local worker for people."""

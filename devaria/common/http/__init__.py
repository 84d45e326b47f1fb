"""HTTP with hosts and answers that are not trusted, for the worker's clients and for files."""

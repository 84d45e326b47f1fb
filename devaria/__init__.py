"""devaria: the job runner of the Devaria distributed job computation and caching system."""

__version__ = "0.1.0"

"""How much of a stranger's file is read at most."""

from dataclasses import dataclass, fields
from typing import Any, Dict, Mapping

_PREFIX = "DEVARIA_"

#: figpack numbers units in 16 bits.
_MOST_UNITS = 65_536


@dataclass(frozen=True)
class ReadLimits:
    """Bounds of one job's input; beyond each of them a clear error stands, before memory is taken.

    Attributes:
        max_fetch_bytes: Bytes fetched of one file by ranges (4 GiB).
        max_download_bytes: Length of a file whose server has no byte ranges, so that all of it
            is put on this machine's disk (2 GiB).
        max_spikes: Spike times in the table (200 million; 4 bytes of memory each).
        max_rows: Rows of the table, with or without spikes (a million).
        max_units: Units with spikes (65,536, which is figpack's own bound: it may only be less).
        max_chunk_bytes: A chunk of a column, inflated (256 MiB).
        max_expansion: Declared bytes for each byte that is stored (1,100: deflate reaches 1,032,
            so data that claim more were never stored).
        max_span_sec: From the first spike to the last (30 days). Longer ones are sample numbers.
        max_total_sec: The whole job, fetching to uploading (one hour). Whoever runs the job
            keeps this one: C code that loops cannot be stopped from within.
    """

    max_fetch_bytes: int = 4 * 1024**3
    max_download_bytes: int = 2 * 1024**3
    max_spikes: int = 200_000_000
    max_rows: int = 1_000_000
    max_units: int = _MOST_UNITS
    max_chunk_bytes: int = 256 * 1024**2
    max_expansion: int = 1_100
    max_span_sec: int = 30 * 86_400
    max_total_sec: int = 3_600

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "ReadLimits":
        """Take the bounds that an operator has set, and the defaults for the others.

        Args:
            environ: Environment variables. Read are ``DEVARIA_MAX_FETCH_BYTES``,
                ``DEVARIA_MAX_DOWNLOAD_BYTES``, ``DEVARIA_MAX_SPIKES``, ``DEVARIA_MAX_ROWS``,
                ``DEVARIA_MAX_UNITS``, ``DEVARIA_MAX_CHUNK_BYTES``, ``DEVARIA_MAX_EXPANSION``,
                ``DEVARIA_MAX_SPAN_SEC`` and ``DEVARIA_MAX_TOTAL_SEC``: whole numbers above 0.
                An empty one counts as not set.

        Returns:
            The bounds.

        Raises:
            ValueError: A variable holds something else; the text names it.
        """
        found: Dict[str, Any] = {}
        for field in fields(cls):
            variable = _PREFIX + field.name.upper()
            text = environ.get(variable, "").strip()
            if text:
                found[field.name] = _positive(variable, text)
        if found.get("max_units", 1) > _MOST_UNITS:
            raise ValueError(f"{_PREFIX}MAX_UNITS must be at most {_MOST_UNITS:,}")
        return cls(**found)


def _positive(variable: str, text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    if number < 1:
        raise ValueError(f"{variable} must be a whole number above 0, not {text[:40]!r}")
    return number

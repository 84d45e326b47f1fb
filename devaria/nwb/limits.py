"""The limits on what is read of a submitted file."""

import threading
from dataclasses import dataclass, fields
from typing import Any, Dict, Mapping

from devaria.nwb.errors import NwbError

_PREFIX = "DEVARIA_"

#: figpack numbers units in 16 bits.
_MOST_UNITS = 65_536


@dataclass(frozen=True)
class ReadLimits:
    """Upper limits of one job's input. A file beyond a limit is refused before memory is allocated.

    Attributes:
        max_fetch_bytes: Bytes fetched of one file in ranges (4 GiB).
        max_download_bytes: Length of a file whose server has no byte ranges. Such a file is
            downloaded to this machine's disk (2 GiB).
        max_spikes: Spike times in the table (200 million; 4 bytes of memory each).
        max_rows: Rows of the table, with or without spikes (a million).
        max_units: Units with spikes (65,536, the limit of figpack; it can only be lowered).
        max_read_bytes: Length of the values that one request reads, decompressed (2 GiB). Spike
            times have their own limit, ``max_spikes``.
        max_chunk_bytes: Length of a decompressed chunk of a dataset (256 MiB).
        max_expansion: Ratio of declared to stored bytes (1,100; deflate reaches 1,032, so a higher
            ratio means data that were never stored).
        max_memory_bytes: Address space of the reading process (8 GiB). 200 million spikes need
            1.3 GB of it; requests of ``max_read_bytes`` need three times that, and a little more.
        max_cpu_sec: Processor time of the reading process, of all its threads together (20
            minutes).
        max_span_sec: Time from the first spike to the last (30 days). A longer span means that the
            values are sample numbers.
        max_total_sec: Time of the whole job, from fetching to uploading (one hour). The process
            that starts the reading enforces it: a loop in C code cannot be stopped from within.
    """

    max_fetch_bytes: int = 4 * 1024**3
    max_download_bytes: int = 2 * 1024**3
    max_spikes: int = 200_000_000
    max_rows: int = 1_000_000
    max_units: int = _MOST_UNITS
    max_read_bytes: int = 2 * 1024**3
    max_chunk_bytes: int = 256 * 1024**2
    max_expansion: int = 1_100
    max_memory_bytes: int = 8 * 1024**3
    max_cpu_sec: int = 1_200
    max_span_sec: int = 30 * 86_400
    max_total_sec: int = 3_600

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "ReadLimits":
        """Read the limits that the operator has set; the others keep their defaults.

        Args:
            environ: Environment variables. These are read: ``DEVARIA_MAX_FETCH_BYTES``,
                ``DEVARIA_MAX_DOWNLOAD_BYTES``, ``DEVARIA_MAX_SPIKES``, ``DEVARIA_MAX_ROWS``,
                ``DEVARIA_MAX_UNITS``, ``DEVARIA_MAX_READ_BYTES``, ``DEVARIA_MAX_CHUNK_BYTES``,
                ``DEVARIA_MAX_EXPANSION``, ``DEVARIA_MAX_MEMORY_BYTES``, ``DEVARIA_MAX_CPU_SEC``,
                ``DEVARIA_MAX_SPAN_SEC`` and ``DEVARIA_MAX_TOTAL_SEC``. Each
                is a whole number above 0; an empty one counts as not set.

        Returns:
            The limits.

        Raises:
            ValueError: A variable holds anything else. The text names the variable.
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


class FetchCount:
    """Counts the bytes that are fetched of one file. Any number of threads may use it.

    Args:
        shown: The file, for the error.
        max_fetch_bytes: How many there may be.
    """

    def __init__(self, shown: str, max_fetch_bytes: int) -> None:
        self._shown = shown
        self._most = max_fetch_bytes
        self._fetched = 0
        self._counting = threading.Lock()

    def add(self, num_bytes: int) -> None:
        """Count more of them.

        Raises:
            NwbError: They are too many.
        """
        with self._counting:
            self._fetched += num_bytes
        if self._fetched > self._most:
            raise NwbError(
                f"{self._shown} needs more than the {self._most / 1e6:,.0f} MB that may be fetched "
                "(DEVARIA_MAX_FETCH_BYTES)"
            )


def _positive(variable: str, text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    if number < 1:
        raise ValueError(f"{variable} must be a whole number above 0, not {text[:40]!r}")
    return number

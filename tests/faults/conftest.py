"""A worker, a fault proxy and runner processes of the test's own."""

import pytest
from lab import Lab


@pytest.fixture
def lab(tmp_path):
    """A lab with nothing running in it but the worker and the proxy."""
    with Lab(tmp_path) as lab:
        yield lab

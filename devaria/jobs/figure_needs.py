"""What the figure handlers need: packages, their imports, and the limits of reading."""

import gc
import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, List, Mapping, Sequence, Tuple

from devaria.figures.api_key import KEY_MISSING, KEY_VARIABLE

if TYPE_CHECKING:
    from devaria.nwb.limits import ReadLimits

#: Which package each import of all such handlers comes from, and which extra installs it.
_PACKAGES = {"figpack": ("figpack", "figpack"), "h5py": ("h5py", "figpack")}

#: What all of them import.
_MODULES = ("devaria.figures.upload.figpack_calls", "zarr")


def missing_needs(packages: Mapping[str, Tuple[str, str]]) -> List[str]:
    """Return why this machine cannot draw figures.

    Args:
        packages: Which package each further import comes from, and which extra installs it.

    Returns:
        A sentence for each package that is not installed, for a variable that sets a read limit to
        no valid number, and for a missing figpack key.
    """
    missing = [
        f'{package} is not installed: `pip install "devaria[{extra}]"`'
        for module, (package, extra) in {**_PACKAGES, **packages}.items()
        if find_spec(module) is None
    ]
    try:
        read_limits()
    except RuntimeError as error:
        missing.append(str(error))
    return missing if os.environ.get(KEY_VARIABLE) else [*missing, KEY_MISSING]


def keep_numpy_to_one_thread() -> None:
    """Call this before numpy is imported: it starts more for linear algebra, not used here."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def import_all(modules: Sequence[str]) -> None:
    """Import what builds and uploads figures.

    Args:
        modules: Further modules.
    """
    # The garbage collector would find nothing, and take 6 % of the time.
    gc.disable()
    try:
        for module in (*_MODULES, *modules):
            import_module(module)
    finally:
        gc.enable()


def read_limits() -> "ReadLimits":
    """Return the limits of reading a file, as the environment sets them.

    Raises:
        RuntimeError: A variable holds no valid number.
    """
    from devaria.nwb.limits import ReadLimits

    try:
        return ReadLimits.from_environment(os.environ)
    except ValueError as error:  # a ValueError would blame the job's parameters
        raise RuntimeError(str(error)) from None

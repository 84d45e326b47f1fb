"""Check whether a runner would work here: what `devaria doctor` does."""

from typing import List

from devaria.runner.doctor import local, remote
from devaria.runner.doctor.check import FAILURE, OK, WARNING, Check, CheckContext

__all__ = ["FAILURE", "OK", "WARNING", "Check", "CheckContext", "examine"]

#: The checks in the order in which they are shown. The name is shown if the check itself fails.
_CHECKS = {
    "Python": local.check_python,
    "packages": local.check_packages,
    "runner key": local.check_key,
    "worker": remote.check_worker,
    "push": remote.check_push,
    "directory": local.check_directory,
    "lock": local.check_lock,
    "disk space": local.check_disk,
    "job types": local.check_job_types,
    "figpack": remote.check_figpack,
}


def examine(context: CheckContext) -> List[Check]:
    """Check everything that a runner needs, without changing anything.

    Args:
        context: The settings that a runner would be started with.

    Returns:
        The results, in the order in which they are to be shown.
    """
    checks: List[Check] = []
    for name, run_check in _CHECKS.items():
        try:
            checks.extend(run_check(context))
        except Exception as error:  # one check that breaks must not hide the others
            checks.append(Check(name, FAILURE, f"{type(error).__name__}: {error}"))
    return checks

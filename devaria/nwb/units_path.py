"""The form of a path to a units table within a file."""

from typing import List

from devaria.nwb.errors import InvalidInputError, printable


def checked_units_path(path: object) -> str:
    """Check the form of the path of a units table.

    Args:
        path: What a submitter gave.

    Returns:
        The path, from the root of the file: with a slash in front.

    Raises:
        InvalidInputError: It is no string, names nothing, or holds ``..`` or control characters.
    """
    if not isinstance(path, str):
        raise InvalidInputError("units_path must be a string such as /units")
    if not path_names(path):
        raise InvalidInputError(
            f"units_path must be the path of a group, such as /units, not '{printable(path)}'"
        )
    if not path.isprintable() or len(path) > 1024 or ".." in path_names(path):
        raise InvalidInputError("units_path must not hold '..' or control characters")
    return path if path.startswith("/") else f"/{path}"


def path_names(path: str) -> List[str]:
    """Take a path apart.

    Args:
        path: Names with slashes between them.

    Returns:
        The names; a slash too many is no name.
    """
    return [name for name in path.split("/") if name not in ("", ".")]

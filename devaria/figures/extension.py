"""Views of devaria's own: their scripts, which lie in ``static/`` and go into the figure."""

from pathlib import Path

import figpack

import devaria

_STATIC = Path(__file__).parent / "static"


def own_extension(name: str, *scripts: str) -> figpack.FigpackExtension:
    """Make an extension of figpack's front end of scripts in ``static/``.

    Args:
        name: The name by which the last script registers the extension.
        *scripts: Names of scripts, without ``.js``, in the order in which they need each other.
    """
    code = in_function(*scripts)
    return figpack.FigpackExtension(name=name, javascript_code=code, version=devaria.__version__)


def in_function(*scripts: str, before: str = "") -> str:
    """Join scripts in a function, so that those of two extensions cannot use the same names.

    Args:
        *scripts: As for ``own_extension``.
        before: JavaScript that they need.
    """
    texts = [(_STATIC / f"{script}.js").read_text(encoding="utf-8") for script in scripts]
    return "(() => {\n" + "\n".join([before, *texts]) + "\n})();\n"

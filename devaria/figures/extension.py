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
    texts = [(_STATIC / f"{script}.js").read_text(encoding="utf-8") for script in scripts]
    # In a function, so that the scripts of two extensions cannot use the same names by mistake.
    code = "(() => {\n" + "\n".join(texts) + "\n})();\n"
    return figpack.FigpackExtension(name=name, javascript_code=code, version=devaria.__version__)

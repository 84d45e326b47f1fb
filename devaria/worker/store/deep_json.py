"""JSON of any honest depth, read and written as JavaScript does.

Python's parser and writer recurse, and give up near 1,000 levels. The hosted worker takes more. So
what is deep is read in pieces of a few hundred levels, and written without recursion.
"""

import re
import secrets
from typing import Any, Dict, List, Tuple, Union

from devaria.common import js_json

#: The limit of nesting, in levels of lists and objects, inclusive. Between 1,500 and 5,000, the
#: hosted worker has one too.
MAX_DEPTH = 4_000
#: How many levels `js_json` reads at a time.
_PIECE = 400


def loads(body: bytes) -> Any:
    """Parse JSON as ``js_json.loads`` does, up to `MAX_DEPTH` levels.

    Raises:
        ValueError: It is not JSON, or nested too deeply.
    """
    if body.count(b"[") + body.count(b"{") <= _PIECE:
        return js_json.loads(body)
    return _Pieces(body.decode("utf-8-sig", "replace")).value()


def dumps(value: Any, *, sort_keys: bool = False) -> str:
    """Write a value as ``js_json.dumps`` does, whatever its depth is."""
    try:
        return js_json.dumps(value, sort_keys=sort_keys)
    except RecursionError:
        return _written(value, sort_keys)


class _Pieces:
    """A deep JSON text; pieces of it are replaced by names, from the inside out."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._mark = secrets.token_hex(16)  # no text of a submitter begins with it
        self._values: Dict[str, Any] = {}

    def value(self) -> Any:
        # The parts of each piece that is not complete, the outermost first.
        open_pieces: List[List[str]] = [[]]
        done = depth = 0
        for match in re.finditer(js_json.STRING_OR_BRACKET, self._text):
            found = match.group()
            if found in "[{":
                depth += 1
                if depth > MAX_DEPTH:
                    raise ValueError(f"JSON is nested deeper than {MAX_DEPTH} levels")
                if depth % _PIECE == 0:
                    open_pieces[-1].append(self._text[done : match.start()])
                    open_pieces.append([])
                    done = match.start()
            elif found in "]}":
                if depth % _PIECE == 0 and depth > 0:
                    piece = "".join([*open_pieces.pop(), self._text[done : match.end()]])
                    open_pieces[-1].append(f'"{self._name(self._parsed(piece))}"')
                    done = match.end()
                depth -= 1
        return self._parsed(
            "".join([*(part for each in open_pieces for part in each), self._text[done:]])
        )

    def _name(self, value: Any) -> str:
        name = f"{self._mark}{len(self._values)}"
        self._values[name] = value
        return name

    def _parsed(self, piece: str) -> Any:
        value = js_json.loads(piece.encode("utf-8", "replace"))
        todo = [value]
        while todo:
            holder = todo.pop()
            for key, child in _items(holder):
                if isinstance(child, str) and child in self._values:
                    holder[key] = self._values[child]
                elif isinstance(child, (dict, list)):
                    todo.append(child)
        return value


def _items(holder: Any) -> List[Tuple[Any, Any]]:
    if isinstance(holder, dict):
        return list(holder.items())
    return list(enumerate(holder)) if isinstance(holder, list) else []


class _Text(str):
    """Text that is written as it is."""


def _written(value: Any, sort_keys: bool) -> str:
    parts: List[str] = []
    todo: List[Any] = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, _Text):
            parts.append(each)
        elif isinstance(each, (dict, list)):
            todo.extend(reversed(_parts(each, sort_keys)))
        else:
            parts.append(js_json.dumps(each))
    return "".join(parts)


def _parts(holder: Union[Dict[str, Any], List[Any]], sort_keys: bool) -> List[Any]:
    """Return the texts and the values that a list or an object is written of, in their order."""
    if isinstance(holder, list):
        inside = [part for child in holder for part in (_Text(","), child)]
        return [_Text("["), *inside[1:], _Text("]")]
    items = list(holder.items())
    if sort_keys:
        items.sort(key=lambda item: item[0].encode("utf-16-be", "surrogatepass"))
    inside = [part for key, child in items for part in (_Text(","), key, _Text(":"), child)]
    return [_Text("{"), *inside[1:], _Text("}")]

"""The skeleton of a pose estimation: which parts a line joins.

Version 0.1 of the extension ndx-pose keeps nodes and edges in the container; later versions link to
an object of type Skeleton, by a name of any kind.
"""

import re
from typing import TYPE_CHECKING, Dict, List, Sequence, Tuple

from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.node import Node

if TYPE_CHECKING:
    from devaria.nwb.sandbox.remote import RemoteNwb

#: More edges are no skeleton.
_MAX_EDGES = 10_000


class Skeleton:
    """Names and lines. A file without a skeleton has an empty one.

    Args:
        nodes: Names of the nodes.
        edges: Pairs of positions in ``nodes``.
    """

    def __init__(self, nodes: Sequence[str] = (), edges: Sequence[Tuple[int, int]] = ()) -> None:
        self._nodes = nodes
        self._edges = edges

    def in_order(self, names: Sequence[str]) -> List[str]:
        """Return names of parts in the order of the nodes, then the others in their own order."""
        of_node = self._names_of_nodes(names)
        return sorted(names, key=lambda name: of_node.get(name, len(self._nodes)))

    def edges_between(self, names: Sequence[str]) -> Tuple[List[Tuple[int, int]], int]:
        """Return the edges as pairs of positions in a list of parts.

        Args:
            names: Names of the parts.

        Returns:
            The edges, each once; and how many edges are left out, because an end is no part.
        """
        part_of = {node: names.index(name) for name, node in self._names_of_nodes(names).items()}
        ends = [(part_of.get(first), part_of.get(second)) for first, second in self._edges]
        known = [(a, b) for a, b in ends if a is not None and b is not None and a != b]
        return list(dict.fromkeys(known)), len(ends) - len(known)

    def _names_of_nodes(self, names: Sequence[str]) -> Dict[str, int]:
        """Return the position of the node of each part that has one.

        Writers name the series of "snout" so, or ``PoseEstimationSeriesSnout``.
        """
        plain = {_plain(name): name for name in names}
        found: Dict[str, int] = {}
        for position, node in enumerate(self._nodes):
            name = plain.get(_plain(node))
            if name is not None:
                found.setdefault(name, position)
        return found


def read_skeleton(file: "RemoteNwb", container: Node) -> Skeleton:
    """Read the skeleton of a pose estimation.

    Args:
        file: The open file.
        container: The container, two levels deep.

    Returns:
        The skeleton; an empty one if the file has none.

    Raises:
        NwbError: It cannot be read, or is none.
        InvalidInputError: It changed while it was read.
    """
    linked = [node for node in container.children.values() if node.neurodata_type == "Skeleton"]
    for holder in (*linked, container):
        nodes, edges = holder.children.get("nodes"), holder.children.get("edges")
        if nodes is not None and nodes.dtype == "text":
            return Skeleton(file.text(nodes.path), [] if edges is None else _edges(file, edges))
    return Skeleton()


def _edges(file: "RemoteNwb", node: Node) -> List[Tuple[int, int]]:
    if 0 in node.shape:
        return []
    if len(node.shape) != 2 or node.shape[1] != 2 or node.dtype[1:2] not in ("i", "u"):
        raise NwbError(f"{node.path} has the shape {node.shape} and the type {node.dtype}")
    if node.shape[0] > _MAX_EDGES:
        raise NwbError(f"{node.path} has {node.shape[0]:,} edges; at most {_MAX_EDGES:,} are drawn")
    return [(first, second) for first, second in file.read(node.path).tolist()]


def _plain(name: str) -> str:
    """Return a name without the differences that writers make."""
    plain = re.sub(r"[\W_]+", "", name.lower())
    return (
        plain[len("poseestimationseries") :] if plain.startswith("poseestimationseries") else plain
    )


#: What reading a part of a file may raise.
READ_ERRORS = (NwbError, InvalidInputError)

"""The papers of the repository: their texts, their fenced blocks, their links and anchors."""

import re
from pathlib import Path
from typing import Dict, List, Set

ROOT = Path(__file__).parents[2]

README = ROOT / "README.md"
DOCS = ROOT / "docs"
#: Every paper that is for people.
PAPERS = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("**/*.md"))]
#: Its blocks are run by test_walk_through.py, in their order.
WALK_THROUGH = DOCS / "first-handler.md"

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def name_of(paper: Path) -> str:
    """The path of a paper from the repository's root."""
    return paper.relative_to(ROOT).as_posix()


def text_of_paper(paper: Path) -> str:
    """The whole text of a paper."""
    return paper.read_text(encoding="utf-8")


def fenced(paper: Path, language: str) -> List[str]:
    """The blocks of one language in a paper, without the white space around them."""
    return [
        text.strip() for found, text in _FENCED.findall(text_of_paper(paper)) if found == language
    ]


def commands() -> Dict[str, List[str]]:
    """Every block of shell commands outside of the walk-through, with the papers that have it."""
    found: Dict[str, List[str]] = {}
    for paper in PAPERS:
        if paper != WALK_THROUGH:
            for text in fenced(paper, "bash"):
                found.setdefault(text, []).append(name_of(paper))
    return found


def block(fragment: str) -> str:
    """The one block of shell commands with a text in it, without lines that install devaria."""
    found = [text for text in commands() if fragment in text]
    assert len(found) == 1, f"{len(found)} blocks have {fragment!r}"
    return re.sub(r"^pip install .*\n", "", found[0], flags=re.MULTILINE)


def links(paper: Path) -> List[str]:
    """The targets of a paper's links, those in blocks left out."""
    return _LINK.findall(_FENCED.sub("", text_of_paper(paper)))


def anchors(paper: Path) -> Set[str]:
    """The anchors of a paper's headings, as code hosts make them."""
    found: Set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", _FENCED.sub("", text_of_paper(paper)), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        anchor = base = words.strip().replace(" ", "-")
        count = 0
        while anchor in found:
            count += 1
            anchor = f"{base}-{count}"
        found.add(anchor)
    return found

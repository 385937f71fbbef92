"""Where a key stands in a TOML text, so that an error can name the line.

tomllib does not keep places. This reads headers and keys only, after tomllib has accepted the text;
a key inside an inline table or a list over several lines gets the line of what holds it.
"""

import re
from collections.abc import Sequence

__all__ = ["line_of"]

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def _parts(text: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(text)]


def line_of(text: str, place: Sequence[str | int]) -> int | None:
    """Return the line, from 1, of a key or of the nearest thing around it that has a line.

    Args:
        text: TOML that tomllib accepts.
        place: Keys and list positions from the top, such as ("stages", 1, "epochs").
    """
    wanted = tuple(str(part) for part in place)
    table: tuple[str, ...] = ()
    counts: dict[tuple[str, ...], int] = {}
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = tuple(_parts(header[2]))
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
            # A table inside a list of tables belongs to the list's newest entry.
            for depth in range(len(table), 0, -1):
                if table[:depth] in counts:
                    table = (*table[:depth], str(counts[table[:depth]]), *table[depth:])
            here = table
        elif key := _KEY.match(line):
            here = (*table, *_parts(key[1]))
        else:
            continue
        if here == wanted[: len(here)] and (best is None or len(here) > best[0]):
            best = (len(here), number)
    return best[1] if best else None

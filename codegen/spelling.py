"""Names of a program as names of Python: `param lambda = 2` is a good parameter in the language, and no good one in Python."""

from __future__ import annotations

import keyword
from collections.abc import Collection, Iterable


def spellings(names: Iterable[str], reserved: Collection[str]) -> dict[str, str]:
    """Each name as it is, or with as many underscores after it as make it no keyword, not reserved and unlike the others.

    A point in a name becomes an underscore.
    """
    used = set(reserved)
    spelled: dict[str, str] = {}
    for name in names:
        spelling = name.replace(".", "_")
        while keyword.iskeyword(spelling) or spelling in used:
            spelling += "_"
        used.add(spelling)
        spelled[name] = spelling
    return spelled

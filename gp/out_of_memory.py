"""Is memory what was missing? Where it is, a library that cannot be loaded says so in words of its own."""

from __future__ import annotations

import errno
from typing import Final

_WORDS: Final = ("failed to map segment", "cannot allocate memory", "std::bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that it came from, is for want of memory."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, MemoryError) or (isinstance(found, OSError) and found.errno == errno.ENOMEM):
            return True
        if any(words in str(found).lower() for words in _WORDS):
            return True
        found = found.__cause__ or found.__context__
    return False

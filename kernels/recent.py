"""What was asked for last, remembered: the rest is made again when it is asked for again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final, Generic, TypeVar

# Of compiled functions, those that were used last stay compiled. One takes some 60 kB with all that belongs to it, and two or three memory
# maps, of which Linux gives a process 65,530. To load one from disk again takes half a millisecond.
MOST_KEPT: Final = 512

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The `most` values that were asked for last, by key. What is forgotten goes on living with whoever holds it.

    Several threads may use it at a time.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key) -> Value | None:
        """The value, or None if there is none."""
        with self._lock:
            found = self._values.get(key)
            if found is not None:
                self._values.move_to_end(key)
            return found

    def put(self, key: Key, value: Value) -> Value:
        """Remember the value, and give it back."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            # Held until the lock is free again, for what goes with a value may take a while.
            forgotten = self._values.popitem(last=False) if len(self._values) > self._most else None
        del forgotten
        return value

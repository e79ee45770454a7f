"""Bounds on a program. Going past one is a DSLError that names it; each keeps the worst case below a second.

The bounds on what a program unrolls to are applied where it is unrolled (`codegen.build`).
"""

from typing import Final

MAX_LENGTH: Final = 50_000  # characters of text, also as it is printed; reading takes about 7 us a token
MAX_DEPTH: Final = 100  # levels of nesting; building recurses, at most four frames a level, and Python allows 1,000
MAX_REPEAT: Final = 256  # iterations of one repeat
MAX_UNROLLED: Final = 20_000  # operations visited once functions are inlined and loops unrolled
MAX_COMPILE: Final = 10  # seconds that compiling value and gradient for the CPU would take, as codegen/effort.py estimates them
MAX_NODES: Final = 4_000  # different operations that are left, of constants alone not counted

"""`python -m gp` is the command `gp`."""

import sys

from gp.cli import main

if __name__ == "__main__":
    sys.exit(main())

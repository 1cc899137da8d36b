"""`python -m oncue`: the `oncue` command."""

from __future__ import annotations

import sys

from oncue.cli import main

if __name__ == "__main__":
    sys.exit(main())

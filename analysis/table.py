"""`python -m analysis.table` in a checkout is `eprli-lab table` anywhere."""

import sys

from eprli_lab.cli.table import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -m analysis.table` in a checkout is `eprli-lab table` anywhere."""

import sys

from eprli_lab.cli.table import command

if __name__ == "__main__":
    sys.exit(command.run(sys.argv[1:]))

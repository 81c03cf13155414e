"""`python -m analysis.check` in a checkout is `eprli-lab check` anywhere."""

import sys

from eprli_lab.cli.check import command

if __name__ == "__main__":
    sys.exit(command.run(sys.argv[1:]))

"""`python -m analysis.report` in a checkout is `eprli-lab report` anywhere."""

import sys

from eprli_lab.cli.report import command

if __name__ == "__main__":
    sys.exit(command.run(sys.argv[1:]))

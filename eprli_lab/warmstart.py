"""`python -m eprli_lab.warmstart` is `eprli-lab warmstart`."""

import sys

from eprli_lab.cli.warmstart import command

if __name__ == "__main__":
    sys.exit(command.run(sys.argv[1:]))

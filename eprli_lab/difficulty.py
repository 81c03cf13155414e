"""`python -m eprli_lab.difficulty` is `eprli-lab difficulty`."""

import sys

from eprli_lab.cli.difficulty import command

if __name__ == "__main__":
    sys.exit(command.run(sys.argv[1:]))

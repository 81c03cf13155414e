"""`python -m eprli_lab.difficulty` is `eprli-lab difficulty`."""

import sys

from eprli_lab.cli.difficulty import main

if __name__ == "__main__":
    sys.exit(main())

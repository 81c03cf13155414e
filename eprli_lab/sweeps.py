"""`python -m eprli_lab.sweeps` is `eprli-lab sweeps`."""

import sys

from eprli_lab.cli.sweeps import main

if __name__ == "__main__":
    sys.exit(main())

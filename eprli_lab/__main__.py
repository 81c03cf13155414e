"""`python -m eprli_lab` is `eprli-lab`."""

import sys

from eprli_lab.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m eprli_lab.tracking upload` is `eprli-lab upload`."""

import sys

from eprli_lab.cli.upload import main

sys.exit(main(sys.argv[1:]))

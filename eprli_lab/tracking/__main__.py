"""`python -m eprli_lab.tracking upload` is `eprli-lab upload`."""

import sys

from eprli_lab.cli.upload import command

if __name__ == "__main__":
    words = sys.argv[1:]
    named = words[:1] == ["upload"]
    sys.exit(command.run(words[1:] if named else [w for w in words if w in ("-h", "--help")]))

"""What runs inside the sandbox: Python's standard library alone, nothing of this package beside this folder."""

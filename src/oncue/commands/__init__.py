"""The verbs of the command line: one class of flags each, with `run() -> exit code`."""

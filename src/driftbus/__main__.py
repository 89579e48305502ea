"""`python -m driftbus` is the `driftbus` command."""

from driftbus.stream.cli.main import main

main()

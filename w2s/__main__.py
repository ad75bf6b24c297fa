"""`python -m w2s`: the command line."""

from w2s_core.cli.main import main

main()

"""`python -m w2s_core.cli`: the command line without its script on the path."""

from w2s_core.cli.main import main

main()

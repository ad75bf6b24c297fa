"""What the shell completes: runs and studies of the store, and the fields of an experiment."""

import click

run_argument = click.argument("run_name", metavar="RUN")

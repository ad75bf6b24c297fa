"""`w2s recipes` and `w2s tasks`. Imports stand inside: their help must answer at once."""

import click


@click.command()
@click.argument("name", required=False)
def recipes(name: str | None) -> None:
    """List the recipes: the methods that an experiment can name.

    With NAME, the fields of one.
    """
    from w2s_core.cli.listing import render_recipe, render_recipes

    click.echo(render_recipe(name) if name else render_recipes())


@click.command()
@click.argument("name", required=False)
def tasks(name: str | None) -> None:
    """List the tasks and the answer rules.

    With NAME, the options of one task.
    """
    from w2s_core.cli.listing import render_task, render_tasks

    click.echo(render_task(name) if name else render_tasks())

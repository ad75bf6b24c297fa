"""`w2s compare`. Heavy imports stand inside: `w2s --help` must answer at once."""

from pathlib import Path

import click


@click.command()
@click.argument("run_a")
@click.argument("run_b")
@click.option("--target", help="Compare this result alone, such as dpo or greedy/dev/hybrid_ft_2.")
@click.option("--against", help="RUN_B's result, where it is another than RUN_A's --target.")
@click.option("--common", is_flag=True, help="Leave out questions that only one of them was graded on.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Save the tables here too, all changes in CSV.",
)
@click.pass_obj
def compare(
    root: Path,
    run_a: str,
    run_b: str,
    target: str | None,
    against: str | None,
    common: bool,
    out: Path | None,
) -> None:
    """Compare two runs question by question: difference B - A, its interval and p, by level, and what changed sides.

    Without --target, every greedy result that both have, and details of the last of the student's. The same run twice
    with --target and --against compares two of its methods.
    """
    from analysis.parts.compare import compare_runs
    from w2s_core.engine import Store
    from w2s_core.cli.inspection import find_run

    store = Store(root)
    runs = (find_run(store, run_a), find_run(store, run_b))
    click.echo(compare_runs(store, runs, (target, against), common=common, out=out))

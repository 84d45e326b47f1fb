"""The command `demo`; `demonstration.py` does the work."""

import sys

import click

from devaria.cli.options import examples, shown_to_its_end


@click.command(epilog=examples("devaria demo", "devaria demo --exit"))
@click.option("--exit", "exit_at_end", is_flag=True, help="Exit when the jobs have ended.")
def demo(exit_at_end: bool) -> None:
    """Run a worker, a runner and a job of each type on this machine.

    Then serve the figures that the jobs made. Needs no internet and no keys, and leaves no files
    behind.
    """
    from devaria.cli.demonstration import run_demo

    sys.exit(run_demo(serve_on=not exit_at_end, say=click.echo, show=shown_to_its_end))

"""The command `demo`."""

import sys

import click

from devaria.cli.options import examples, shown_to_its_end


@click.command(epilog=examples("devaria demo", "devaria demo --exit"))
@click.option("--exit", "exit_at_end", is_flag=True, help="Exit when both jobs have ended.")
def demo(exit_at_end: bool) -> None:
    """Show it all on this machine: a worker, a runner, two jobs, and the figure that comes out.

    Needs no internet and no keys, and leaves no files.
    """
    from devaria.cli.demonstration import run_demo

    sys.exit(run_demo(serve_on=not exit_at_end, say=click.echo, show=shown_to_its_end))

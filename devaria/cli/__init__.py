"""The `devaria` command: parse options, call the package, print, exit.

The modules here import at their top only what the options and help texts need. A command imports
what it calls in its own function, so that `devaria --help` stays under 0.3 s and works without the
optional packages.
"""

from typing import Any

import click

from devaria import __version__
from devaria.cli import demo, handlers, health, jobs, runner, submit, worker
from devaria.cli.options import examples
from devaria.common.errors import EXIT_INTERRUPTED, DevariaError


class _Commands(click.Group):
    """Prints an error's text without a traceback, and exits with the error's code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DevariaError as error:
            from devaria.common.text import printable  # the text may quote a worker

            click.echo(f"Error: {printable(str(error))}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("Interrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples("devaria demo", "devaria runner --burst"),
)
@click.version_option(__version__, prog_name="devaria")
def main() -> None:
    """Run jobs for a Devaria worker, or try everything on this machine."""


for _command in (
    demo.demo,
    runner.runner,
    worker.worker,
    submit.submit,
    submit.rerun,
    jobs.jobs,
    jobs.job,
    jobs.runners,
    handlers.run,
    handlers.handlers,
    health.doctor,
    health.status,
):
    main.add_command(_command)

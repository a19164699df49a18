"""The command line: options, and one call of the Python API a command.

Heavy modules are imported inside the commands, so that `bnnbench --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from bnnbench._version import __version__
from bnnbench.cli.databases import compare, merge, rescore, submit, validate
from bnnbench.cli.datasets import data
from bnnbench.cli.figures import figure
from bnnbench.cli.predictions import score, splits
from bnnbench.cli.results import certified, export, forget, list_, report, serve, show, status
from bnnbench.cli.terminal import plain, sentences_for, survived
from bnnbench.cli.training import check, run, tune
from bnnbench.errors import RenamedWarning, UserError
from bnnbench.registry import PluginWarning
from bnnbench.store.passwords import masked


class _Group(click.Group):
    """Shows a UserError as one sentence with exit status 2; Ctrl-C leaves what is finished in the database."""

    def main(self, *args: Any, **extra: Any) -> Any:
        with survived():
            return super().main(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with sentences_for(PluginWarning, RenamedWarning):
                return super().invoke(ctx)
        except UserError as error:
            raise click.ClickException(plain(masked(str(error)))) from error
        except click.ClickException as error:
            # It may repeat an argument.
            error.message = masked(error.message)  # pyright: ignore[reportAttributeAccessIssue]
            raise
        except KeyboardInterrupt:
            click.echo(
                "Interrupted; what is finished is in the database, the same command goes on from there.", err=True
            )
            sys.exit(130)
        except BrokenPipeError:  # `bnnbench export | head`
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - the interpreter flushes it on exit
            sys.exit(141)


click.ClickException.exit_code = 2  # bad input has status 2, whoever notices it


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """The benchmark suite for Bayesian neural networks.

    \b
    Example:
      bnnbench run --methods all --task starter
      bnnbench report
    """


COMMANDS = (
    run,
    tune,
    report,
    serve,
    figure,
    splits,
    score,
    check,
    compare,
    rescore,
    list_,
    status,
    show,
    export,
    merge,
    submit,
    validate,
)
for command in (*COMMANDS, certified, forget, data):
    main.add_command(command)

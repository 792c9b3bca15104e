"""The command line: one file per verb, listed here."""

import os
import sys
from typing import Annotated

import typer

from gnoise.cli.analyze import analyze
from gnoise.cli.app import app as app_verb
from gnoise.cli.apply import apply
from gnoise.cli.compare import compare
from gnoise.cli.export import export
from gnoise.cli.inspect import inspect
from gnoise.cli.profile import profile
from gnoise.cli.report import report
from gnoise.cli.show import show
from gnoise.cli.trial import trial
from gnoise.errors import ExitCode, UserError

VERBS = (profile, show, inspect, analyze, export, apply, trial, compare, report, app_verb)

commands = typer.Typer(
    name="gnoise",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with:  gnoise profile sample_checkpoints/gpt-docs",
)
for verb in VERBS:
    commands.command(verb.__name__)(verb)


@commands.callback(invoke_without_command=True)
def _group(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    """Measure the noise in a network's gradients, layer by layer, and what to do about it."""
    if version:
        from importlib.metadata import version as installed

        print(f"gnoise {installed('gnoise')}")
        raise typer.Exit


def main() -> None:
    """Run the command line; every expected failure is one line on stderr and an exit code."""
    debug = "--debug" in sys.argv or bool(os.environ.get("GNOISE_DEBUG"))
    if "--debug" in sys.argv:
        sys.argv.remove("--debug")
    try:
        commands()
    except UserError as error:
        if debug:
            raise
        print(f"gnoise: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        said = (str(error).splitlines() or [""])[0]
        print(
            f"gnoise: expected no {type(error).__name__}, got one: {said}; try --debug and report it", file=sys.stderr
        )
        sys.exit(ExitCode.INTERNAL)


if __name__ == "__main__":
    main()

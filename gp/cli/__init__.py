"""The command line. Each command is a module with `register(app)`; what a command needs it imports when it runs."""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, TextIO, cast

import typer

from gp.cli import bench, catalogue, check, compare, data, doctor, lab, run, runs, show
from gp.cli.errors import explain, warn
from gp.cli.plain import say
from gp.cli.streams import drop_output, prepare_streams
from kernels.cache_folder import CacheWarning

# The class of all mistakes in options and arguments, which typer does not name itself (click, where that is comes from, varies).
_UsageError: Final = cast("type[Exception]", typer.BadParameter.__base__)
_BAD_INPUT: Final = 2
_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"actgp {importlib.metadata.version('actgp')}")
        except importlib.metadata.PackageNotFoundError:
            typer.echo("actgp, from a folder and not installed")
        raise typer.Exit


app = typer.Typer(
    name="gp",
    help="Activation functions: written in a small language, compiled to fused kernels, discovered by evolution.",
    epilog="EXPR is an expression such as 'x*tanh(exp(x))', a name of `gp list`, or an .act file. GP_DEBUG=1 shows where an error arose.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (catalogue, show, check, bench, data, lab, compare, run, runs, doctor):
    _command.register(app)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version, and do nothing.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Activation functions: written in a small language, compiled to fused kernels, discovered by evolution."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (`arguments`: those of the process by default) and give its exit status.

    0: done; 1: something is missing; 2: bad input, with one message on standard error; 130: interrupted. With GP_DEBUG set, an error is
    raised as it is.
    """
    prepare_streams()
    try:
        with _warnings_in_a_line():
            status = app(args=arguments, prog_name="gp", standalone_mode=False)
            sys.stdout.flush()  # here, where a full disk can be told of
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except _UsageError as error:
        if not str(error):  # no command was given, and the help is printed already
            return _BAD_INPUT
        return _fail(_usage_message(cast(typer.BadParameter, error)))
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            drop_output()
            return _fail(f"the output cannot be written: {error.strerror}")
        message = explain(error)
        if message is None or os.environ.get("GP_DEBUG"):
            raise
        return _fail(message)
    return status if isinstance(status, int) else 0


@contextlib.contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Show what is said of the cache as other messages are, without a place in our source."""
    with warnings.catch_warnings():
        before = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
        ) -> None:
            if issubclass(category, CacheWarning):
                warn(str(message))
            else:
                before(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def _fail(message: str) -> int:
    say(f"gp: {message}", error=True)
    return _BAD_INPUT


def _usage_message(error: typer.BadParameter) -> str:
    """What is wrong with the arguments, and what helps where a shell or an option parser reads an expression in its own way."""
    message = error.format_message().rstrip(".").replace("Value error, ", "")
    option = getattr(error, "option_name", "")
    if error.ctx is None:
        return message
    command = error.ctx.command_path
    if any((parameter.metavar or "").startswith("EXPR") for parameter in error.ctx.command.params):
        if option.startswith("-") and not option.startswith("--"):
            return f'{message}; an expression that begins with a minus goes last, after --, as in: {command} -- "-x"'
        if "unexpected extra argument" in message:
            return f'{message}; an expression with spaces needs quotes, as in: {command} "x + 1"'
    return f"{message} (see {command} --help)"

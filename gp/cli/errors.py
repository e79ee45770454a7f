"""What the command line says to a user who has to change something."""

from __future__ import annotations

from gp.cli.plain import say
from gp.out_of_memory import is_out_of_memory


class CommandError(Exception):
    """Something that the user has to change; its text is the whole message. The command ends with status 2."""


def warn(message: str) -> None:
    """Tell the user something, and go on."""
    say(f"gp: {message}", error=True)


def explain(error: BaseException) -> str | None:
    """The message for an error that the user can mend, or None for one that is ours."""
    if is_out_of_memory(error):
        return "there is not enough memory for this; end other programs, or raise the limit (ulimit -v)"
    from gp.lab.devices import DeviceError  # noqa: PLC0415 - only where there is an error; commands that need no lab start without it
    from grammar import DSLError  # noqa: PLC0415 - and no parser

    if isinstance(error, CommandError | DSLError | DeviceError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, FileNotFoundError):  # with a message of its own
        return str(error)
    return None

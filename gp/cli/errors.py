"""What the command line says to a user who has to change something."""

from __future__ import annotations


class CommandError(Exception):
    """Something that the user has to change; its text is the whole message. The command ends with status 2."""


def explain(error: BaseException) -> str | None:
    """The message for an error that the user can mend, or None for one that is ours."""
    from grammar import DSLError  # noqa: PLC0415 - only where there is an error; commands that need no parser start without it

    if isinstance(error, CommandError | DSLError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, FileNotFoundError):  # with a message of its own
        return str(error)
    return None

"""What a shell does to have disks and rights of its own: a user may mount in a namespace of its own, and root can be a plain user there."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import Final

_UNKNOWN: Final = 54321  # a user that no line of /etc/passwd names
_AS_ROOT: Final = "exec unshare --user --map-root-user --mount"
_AS_NOBODY: Final = f"exec unshare --user --map-user={_UNKNOWN} --map-group={_UNKNOWN}"
COMMAND: Final = 'exec "$@"'


def mounted(script: str) -> str:
    """A script that may mount; what it mounts is gone with the last of its processes."""
    return f'{_AS_ROOT} sh -c {shlex.quote("set -e; " + script)} sh "$@"'


def unknown_user(script: str = COMMAND) -> str:
    """A script whose user has no line in /etc/passwd, and none of root's rights."""
    return f'{_AS_NOBODY} sh -c {shlex.quote(script)} sh "$@"'


def plain_user(script: str = COMMAND) -> str:
    """A script without root's rights, to which a file that is write-protected would be none."""
    return unknown_user(script) if os.geteuid() == 0 else script


def _refusal(command: str) -> str:
    """What the system says to a command; empty where it works."""
    done = subprocess.run(["sh", "-c", command, "sh", "true"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"


# By what a kind needs: why it cannot be had here, empty where it can.
REASONS: Final = {
    "mounts": _refusal(mounted(f"mount -t tmpfs tmpfs /mnt; {COMMAND}")),
    "unknown user": _refusal(unknown_user()),
    "plain user": _refusal(plain_user()),
}

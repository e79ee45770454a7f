"""Where a search's settings come from, and how they are written: TOML.

Settings stand at the top of a file or in a table [search]; likewise a key is written with or without "search." before it.
"""

from __future__ import annotations

import json
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

from gp.evolution.config import TABLES, Config, ConfigError, allowed, check
from gp.evolution.productions import all_productions
from gp.user_files import read_text, unreadable
from gp.workers import cores

TABLE: Final = "search"
_COLUMNS: Final = 120  # of a comment
PRESETS: Final = ("quick", "standard", "thorough")


def configure(preset: str | None, file: Path | None, assignments: Sequence[str], options: Mapping[str, Any]) -> Config:
    """The settings of a run: defaults, above them those of a preset, of a file, KEY=VALUE assignments and options, in that order.

    There is a worker for each core unless something else is said. Raises ConfigError, which names the source of a wrong setting.
    """
    settings: dict[str, Any] = {"workers": cores()}
    for key, value in options.items():
        check(key, value)
    if preset is not None:
        if preset not in PRESETS:
            raise ConfigError(f"there is no preset '{preset}'; choose {', '.join(PRESETS)}")
        settings |= read_toml(resources.files("gp.evolution").joinpath("presets", f"{preset}.toml").read_text(encoding="utf-8"), preset)
    if file is not None:
        settings |= read_toml(_text(file), str(file))
    for assignment in assignments:
        settings |= _assigned(assignment, settings)
    return Config(**settings | dict(options))


def read_toml(text: str, source: str) -> dict[str, Any]:
    """The settings in a TOML text, each checked; `source` is what messages call the text. Raises ConfigError."""
    try:
        top = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source} is not valid TOML: {error}") from error
    table = top.pop(TABLE, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{source}: {TABLE} must be a table of settings, not {table!r}")
    if twice := sorted(top.keys() & table.keys()):
        raise ConfigError(f"{source}: {twice[0]} is there twice, at the top and in [{TABLE}]; leave one out")
    settings = top | table
    _check(settings, source)
    return settings


def to_toml(config: Config) -> str:
    """All settings as TOML that `read_toml` reads, each with what it may be; one that is None is a comment."""
    lines = []
    for key, value in config.to_json().items():
        setting = f"# {key} is not set" if value is None else f"{key} = {_toml(value)}"
        lines.append(f"{setting}  # {allowed(key)}\n")
    names = ", ".join(dict.fromkeys(p.name for p in all_productions()))
    lines += [f"# {line}\n" for line in textwrap.wrap(f"The names that weights may have: {names}", _COLUMNS)]
    return "".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {json.dumps(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


def _text(file: Path) -> str:
    try:
        return read_text(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(unreadable(file, error)) from error


def _assigned(assignment: str, before: Mapping[str, Any]) -> dict[str, Any]:
    """The setting in KEY=VALUE; KEY.NAME=VALUE adds an entry to a table. A value that is not TOML is a word as it is, so that a shell
    needs no quotes within quotes."""
    key, sign, value = (part.strip() for part in assignment.partition("="))
    if not sign:
        raise ConfigError(f"--set takes KEY=VALUE, not {assignment!r} (gp run --print-config lists all settings)")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        parsed = value
    key, _, entry = key.removeprefix(f"{TABLE}.").partition(".")
    setting = {key: {**before.get(key, {}), entry: parsed} if entry and key in TABLES else parsed}
    if entry and key not in TABLES:
        check(f"{key}.{entry}", parsed)
    _check(setting, "--set")
    return setting


def _check(settings: Mapping[str, Any], source: str) -> None:
    for key, value in settings.items():
        try:
            check(key, value)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from error

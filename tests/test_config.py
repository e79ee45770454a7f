"""The settings of a search: where they come from, which counts, what is refused and how, and that they print as TOML."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gp.cli import main
from gp.cli.choices import Parameters, Preset
from gp.cli.choices import Strategy as StrategyOption
from gp.evolution.config import CHOICES, KEYS, OPTIONAL, REAL, SWITCHES, TABLES, TEXTS, WHOLE, Config, ConfigError, Strategy
from gp.evolution.productions import all_productions
from gp.evolution.settings import PRESETS, configure, read_toml, to_toml
from gp.evolution.space import Learnable
from gp.run_reading import read_about
from gp.run_store import RunStore

FOLDER = Path(__file__).parents[1] / "gp" / "evolution" / "presets"
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **{key: st.integers(*bounds) for key, bounds in WHOLE.items()},
    **{key: st.floats(*bounds) | st.just(int(bounds[1])) for key, bounds in REAL.items() if key != "elite_share"},
    **{key: st.sampled_from(words) for key, words in CHOICES.items()},
    **{key: st.booleans() for key in SWITCHES},
    "initial": st.lists(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126)), max_size=3).map(tuple),
    "weights": st.dictionaries(st.sampled_from([p.name for p in all_productions()]), st.floats(0, 1e30) | st.integers(0, 9), max_size=4),
}


# Values


@pytest.mark.parametrize("key", [*WHOLE, *REAL])
def test_a_wrong_number_names_the_key_and_what_is_allowed(key: str) -> None:
    for value in (-99, 1e30, float("nan"), "many", True, [1], {}, *(() if key in OPTIONAL else (None,))):
        with pytest.raises(ConfigError, match=rf"^{key} must be a .*number from .* to .*, not "):
            Config(**{key: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["GP", "", None, 1, ["gp"]])
def test_a_wrong_word_names_the_key_and_what_is_allowed(value: Any) -> None:
    with pytest.raises(ConfigError, match=r'^strategy must be "gp" or "random", not '):
        Config(strategy=value)
    with pytest.raises(ConfigError, match=r'^parameters must be "none" or "scalar" or "channel" or "both", not '):
        Config(parameters=value)


@pytest.mark.parametrize(
    ("key", "values", "allowed"),
    [
        ("statistics", [1, 0, "true", None, []], "true or false"),
        ("shifts", [1, 0, "true", None, []], "true or false"),
        ("initial", ["sin(x)", [1], None, {}, [["sin(x)"]]], "a list of programs"),
        ("weights", [1, ["sin"], None, {"sin": -1}, {"sin": "2"}, {"sin": True}, {"sin": float("inf")}, {"sin": float("nan")}, {1: 2}],
         "a table of numbers from 0 on, by the names of operators and functions"),
    ],
)  # fmt: skip
def test_a_wrong_value_names_the_key_and_what_is_allowed(key: str, values: list[Any], allowed: str) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=f"^{key} must be {allowed}, not "):
            Config(**{key: value})


def test_every_setting_is_in_one_table() -> None:
    assert sorted(KEYS) == sorted([*WHOLE, *REAL, *CHOICES, *SWITCHES, *TEXTS, *TABLES])
    assert [str(word) for word in StrategyOption] == list(get_args(Strategy))
    assert [str(word) for word in Parameters] == list(get_args(Learnable))


def test_islands_need_candidates() -> None:
    with pytest.raises(ConfigError, match="population must be at least 4 for each of the 3 islands, not 11"):
        Config(population=11, islands=3)
    assert Config(population=12, islands=3).islands == 3


def test_a_config_does_not_change() -> None:
    weights, initial = {"sin": 2.0}, ["sin(x)"]
    config = Config(weights=weights, initial=initial)  # type: ignore[arg-type]
    weights["sin"], initial[0] = 3.0, "cos(x)"
    assert (config.weights, config.initial) == ({"sin": 2.0}, ("sin(x)",))
    with pytest.raises(TypeError):
        config.weights["sin"] = 3.0  # type: ignore[index]


def test_weights_of_nothing_that_there_is_are_an_error_of_the_space() -> None:
    with pytest.raises(ConfigError, match="weights: there is no production 'sinn', did you mean 'sin'"):
        _ = Config(weights={"sinn": 2}).space
    with pytest.raises(ConfigError, match="weights: there is nothing to make functions of"):
        _ = Config(weights={p.name: 0 for p in all_productions()}).space


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_printing_and_reading_back_gives_the_same(settings: dict[str, Any]) -> None:
    settings["population"] = max(settings.get("population", 64), 4 * settings.get("islands", 2))
    config = Config(**settings)
    text = to_toml(config)
    assert Config(**read_toml(text, "text")) == config
    assert Config(**read_toml(f"[search]\n{text}", "text")) == config
    assert to_toml(Config(**read_toml(text, "text"))) == text
    assert Config(**json.loads(json.dumps(config.to_json()))) == config
    assert all(key in text for key in KEYS)


# Sources


def test_of_several_sources_the_later_one_counts(tmp_path: Path) -> None:
    quick = tomllib.loads((FOLDER / "quick.toml").read_text())
    file = tmp_path / "mine.toml"
    file.write_text("generations = 7\nsteps = 8\nseed = 9\n")
    defaults = configure(None, None, (), {"workers": 3})
    assert defaults == Config(workers=3)
    preset = configure("quick", None, (), {"workers": 3})
    assert preset == Config(**quick, workers=3)
    assert preset.generations not in (7, defaults.generations)
    both = configure("quick", file, (), {"workers": 3})
    assert both == Config(**quick | {"generations": 7, "steps": 8, "seed": 9}, workers=3)
    assigned = configure("quick", file, ["steps=10", "search.seed = 11", "seed=12"], {"workers": 3})
    assert assigned == dataclasses.replace(both, steps=10, seed=12)
    options = configure("quick", file, ["steps=10", "seed=12", "workers=5"], {"seed": 13, "workers": 4})
    assert options == dataclasses.replace(both, steps=10, seed=13, workers=4)


def test_workers_are_one_for_each_core_unless_something_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gp.evolution.settings.cores", lambda: 5)
    assert configure(None, None, (), {}).workers == 5
    assert configure(None, None, ["workers=2"], {}).workers == 2


@pytest.mark.parametrize("assignment", ["strategy=random", 'strategy="random"', "search.strategy = 'random'"])
def test_a_word_may_be_assigned_without_quotes(assignment: str) -> None:
    assert configure(None, None, [assignment], {}).strategy == "random"


@pytest.mark.parametrize(
    "text",
    [
        "[weights]\nsin = 2\n'+' = 0.5",
        "weights = {sin = 2, '+' = 0.5}",
        "[search.weights]\nsin = 2\n'+' = 0.5",
        "weights.sin = 2\nweights.'+' = 0.5",
    ],
)
def test_weights_are_a_table(text: str) -> None:
    assert read_toml(text, "text") == {"weights": {"sin": 2, "+": 0.5}}


def test_a_weight_is_set_beside_those_that_are_there(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[weights]\nsin = 2\ncos = 3\n")
    assert configure(None, file, ["weights.sin=4", "search.weights.tanh = 0", "weights.+=1.5"], {}).weights == {
        "sin": 4, "cos": 3, "tanh": 0, "+": 1.5,
    }  # fmt: skip
    assert configure(None, file, ["weights={exp = 1}"], {}).weights == {"exp": 1}


@pytest.mark.parametrize("text", ["seed = 4", "[search]\nseed = 4", "search.seed = 4", "search = {seed = 4}"])
def test_keys_are_written_with_or_without_search(text: str) -> None:
    assert read_toml(text, "text") == {"seed": 4}


def test_presets_are_valid_and_each_is_more_work_than_the_one_before() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(Preset) == sorted(PRESETS)
    configs = [configure(name, None, (), {}) for name in ("quick", "standard", "thorough")]
    work = [c.planned * c.steps * c.networks for c in configs]
    assert Config().planned * Config().steps < work[0]
    assert work[0] * 5 < work[1] < work[2] / 3
    assert [c.stages for c in configs] == sorted(c.stages for c in configs)
    assert [c.finalists for c in configs] == sorted(c.finalists for c in configs)


# The command


def test_print_config_prints_what_a_run_would_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assigned = ["target=-1", "weights.sin=2", "weights.gelu=0", 'initial=["sin(2*x)"]']
    options = ["--strategy", "random", "--workers", "1", "--parameters", "both", "--statistics", "--no-shifts", "--seed-from", "x*cos(x)"]
    arguments = ["run", "--preset", "standard", *(word for setting in assigned for word in ("--set", setting)), *options]
    assert main([*arguments, "--print-config"]) == 0
    printed = capsys.readouterr().out
    expected = configure(
        "standard",
        None,
        ["target=-1"],
        {
            "strategy": "random", "workers": 1, "parameters": "both", "statistics": True, "weights": {"sin": 2, "gelu": 0},
            "initial": ("sin(2*x)", "x*cos(x)"),
        },
    )  # fmt: skip
    assert Config(**read_toml(printed, "printed")) == expected
    (tmp_path / "printed.toml").write_text(printed)
    assert main(["run", "--config", "printed.toml", "--print-config"]) == 0
    assert capsys.readouterr().out == printed
    assert not (tmp_path / "runs").exists()


def test_the_record_gives_the_settings_back(tmp_path: Path) -> None:
    config = Config(strategy="random", evaluations=20, seconds=1.5, target=-2, weights={"<=": 0.1 + 0.2, "sin": 0}, initial=("sin(x)",))
    with RunStore.create(tmp_path / "run", config) as store:
        assert store.config == config
    assert json.loads(read_about(tmp_path / "run")["config"]) == config.to_json()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "search.popluation=512"], "--set: there is no setting 'popluation', did you mean 'population'? (gp run --print-config "),
        (["--set", "=5"], "--set: there is no setting '' (gp run --print-config "),
        (["--set", "population"], "--set takes KEY=VALUE, not 'population' (gp run --print-config "),
        (["--set", "population="], "--set: population must be a whole number from 4 to 100000, not ''"),
        (["--set", "population=many"], "--set: population must be a whole number from 4 to 100000, not 'many'"),
        (["--set", "population=[1, 2"], "--set: population must be a whole number from 4 to 100000, not '[1, 2'"),
        (["--set", "elite_share=1.5"], "--set: elite_share must be a number from 0 to 0.9, not 1.5"),
        (["--set", "seconds=-1"], "--set: seconds must be a number from 0 to"),
        (["--set", "target=none"], "--set: target must be a number from -5 to 1, not 'none'"),
        (["--set", "strategy=best"], """--set: strategy must be "gp" or "random", not 'best'"""),
        (["--set", "population=2", "--population", "8"], "--set: population must be"),
        (["--set", "islands=40"], "population must be at least 4 for each of the 40 islands, not 64"),
        (["--set", "statistics=1"], "--set: statistics must be true or false, not 1"),
        (["--set", "initial=sin(x)"], "--set: initial must be a list of programs, not 'sin(x)'"),
        (["--set", "weights=2"], "--set: weights must be a table of numbers from 0 on, by the names of operators and functions, not 2"),
        (["--set", "weights.sin=-2"], "--set: weights must be a table of numbers from 0 on"),
        (["--set", "weights.sinn=2"], "weights: there is no production 'sinn', did you mean 'sin'?"),
        (["--set", "seed.one=2"], "there is no setting 'seed.one'"),
        (["--config", "weights.toml"], "weights.toml: weights must be a table of numbers from 0 on"),
        (["--parameters", "all"], "'all' is not one of 'none', 'scalar', 'channel', 'both'"),
        (["--population", "2", "--set", "population=8"], "population must be a whole number from 4 to 100000, not 2"),
        (["--strategy", "best"], "'best' is not one of 'gp', 'random'"),
        (["--preset", "slow"], "'slow' is not one of 'quick', 'standard', 'thorough'"),
        (["--config", "missing.toml"], "cannot read missing.toml: No such file or directory"),
        (["--config", "."], "cannot read .: Is a directory"),
        (["--config", "bytes.toml"], "bytes.toml is not text in UTF-8: byte 7 is 0xff"),
        (["--config", "broken.toml"], "broken.toml is not valid TOML: "),
        (["--config", "unknown.toml"], "unknown.toml: there is no setting 'step', did you mean 'steps'? (gp run --print-config "),
        (["--config", "wrong.toml"], "wrong.toml: steps must be a whole number from 1 to 100000, not 0"),
        (["--config", "twice.toml"], "twice.toml: steps is there twice, at the top and in [search]; leave one out"),
        (["--config", "other.toml"], "other.toml: search must be a table of settings, not 3"),
        (["--config", "section.toml"], "section.toml: there is no setting 'lab' (gp run --print-config "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
@pytest.mark.parametrize("last", [[], ["--print-config"]], ids=["", "print"])
def test_what_is_wrong_is_one_message(
    arguments: list[str],
    message: str,
    last: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"seed = \xff")
    files = {
        "broken": "seed = = 3", "unknown": "step = 3", "wrong": "[search]\nsteps = 0", "twice": "steps = 3\n[search]\nsteps = 4",
        "other": "search = 3", "section": "[lab]\nsteps = 3", "weights": "[weights]\nsin = 'much'",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
    assert main(["run", *arguments, *last]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()

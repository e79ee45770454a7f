"""Measuring candidates: results on disk, over seeds, in worker processes, as rows."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gp.lab import evaluate, evaluation, measure
from gp.lab import pool as pool_module
from gp.lab.data import BoxSampling, DataError, Instance, Range, Raw, Split, instance
from gp.lab.evaluation import BASELINE, canonical, outcomes
from gp.lab.measure import Backend, ResultCache, SeedResult, measure_seed, outcome
from gp.lab.network import Architecture
from gp.lab.pool import CpuPool
from gp.lab.protocol import Measurement, measurement
from gp.lab.score import Outcome, score
from gp.workers import Failure, Job, Workers
from grammar import DSLError
from kernels.cache import DiskCache

ROOT = Path(__file__).resolve().parent.parent
DATA = (instance("polynomial-down-1-3"), instance("harmonic-cap-2-1"), instance("feynman-up-I.6.2"))
QUICK = measurement("quick", data=DATA)
GELU = canonical(BASELINE)
TWO_SEEDS = measurement("quick", data=DATA[:2], seeds=(0, 1))
RESULT = SeedResult((1.0, math.nan), (0.1, math.nan), (1.0, 2.0), (3.0, 1 / 3), 0.25, 0.2)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DiskCache:
    """An empty cache of results, while that of kernels stays as it is."""
    cache = DiskCache(tmp_path / "results")
    monkeypatch.setattr(measure, "default_cache", lambda: cache)
    return cache


class Here(CpuPool):
    """Instead of processes: each task in this one when it is asked for, and noted; those of the texts `lost` fail."""

    lost: tuple[str, ...] = ()

    def __init__(self, backend: Backend = "compiled") -> None:
        super().__init__(backend=backend)
        self.backend = backend
        self.done: list[tuple[str, int]] = []

    def measure(self, tasks: Any, what: Measurement) -> Any:
        for number, (text, seed) in enumerate(tasks):
            self.done.append((text, seed))
            yield number, Failure("lost") if text in self.lost else measure_seed(text, what, seed, self.backend)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> type[Here]:
    """`evaluate` without processes."""
    monkeypatch.setattr(evaluation, "open_pool", lambda device, workers, backend: Here(backend))
    return Here


def same(one: Outcome | str, other: Outcome | str) -> bool:
    """Whether two outcomes have the same bits, apart from the time that they took."""
    assert isinstance(one, Outcome)
    assert isinstance(other, Outcome)
    fields = ("inside", "outside", "variance", "constant_error")
    return all(np.array_equal(getattr(one, f), getattr(other, f), equal_nan=True) for f in fields)


def without_seconds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without what may differ, and with NaN as a text, which is equal to itself."""
    return [{k: str(v) if v != v else v for k, v in row.items() if k != "seconds"} for row in rows]  # noqa: PLR0124


# One seed


def _timeless(result: SeedResult) -> SeedResult:
    return dataclasses.replace(result, seconds=0, compiled=0)


def test_a_seed_is_measured_on_every_data_set() -> None:
    found = measure_seed("silu(x)", QUICK, 3)
    again = measure_seed("silu(x)", QUICK, 3)
    assert {len(getattr(found, f)) for f in ("inside", "outside", "variance", "constant_error")} == {3}
    assert _timeless(found) == _timeless(again)
    assert found.seconds > found.compiled > 0
    assert _timeless(found) != _timeless(measure_seed("silu(x)", QUICK, 4))
    eager = measure_seed("silu(x)", QUICK, 3, "eager")
    np.testing.assert_allclose([found.inside, found.outside], [eager.inside, eager.outside], rtol=1e-3)
    assert (found.variance, found.constant_error) == (eager.variance, eager.constant_error)


def test_the_references_are_those_of_the_data() -> None:
    found = measure_seed("x", measurement("quick", data=DATA[:1]), 0)
    raw = DATA[0].points(np.random.default_rng([0, 0, *DATA[0].name.encode()]))
    scale, mean = raw.train.y.std(), raw.train.y.mean()
    assert found.constant_error == pytest.approx((np.mean((raw.outside.y - mean) ** 2) / scale**2,))
    assert found.variance == pytest.approx((raw.inside.y.var() / scale**2,))
    paper = measure_seed("x", measurement("quick", data=DATA[:1], protocol="paper"), 0)
    assert paper.constant_error == pytest.approx((np.mean((raw.outside.y - mean) ** 2),))


def test_mistakes_are_raised() -> None:
    with pytest.raises(DSLError):
        measure_seed("x +", QUICK, 0)


# Results on disk


def test_a_result_is_found_again_bit_for_bit(results: DiskCache) -> None:
    ResultCache(QUICK, "compiled").put("silu(x)", 0, RESULT)
    found = ResultCache(QUICK, "compiled").get("silu(x)", 0)
    assert repr(found) == repr(RESULT)  # NaN and all
    assert len(list(results.folder.glob("*.entry"))) == 1


FIRST = DATA[0]
OTHERS: dict[str, Callable[[], tuple[str, int, Measurement, Any]]] = {
    "text": lambda: ("silu(2*x)", 0, QUICK, "compiled"),
    "seed": lambda: ("silu(x)", 1, QUICK, "compiled"),
    "backend": lambda: ("silu(x)", 0, QUICK, "eager"),
    "device": lambda: ("silu(x)", 0, QUICK, "batched"),
    "steps": lambda: ("silu(x)", 0, measurement("standard", data=DATA), "compiled"),
    "epsilon": lambda: ("silu(x)", 0, replaced(training=dataclasses.replace(QUICK.training, epsilon=1e-7)), "compiled"),
    "loss": lambda: ("silu(x)", 0, replaced(training=dataclasses.replace(QUICK.training, loss="huber")), "compiled"),
    "protocol": lambda: ("silu(x)", 0, replaced(protocol="paper"), "compiled"),
    "architecture": lambda: ("silu(x)", 0, replaced(architecture=Architecture((32, 33))), "compiled"),
    "fewer data": lambda: ("silu(x)", 0, replaced(instances=DATA[:2]), "compiled"),
    "data in another order": lambda: ("silu(x)", 0, replaced(instances=DATA[::-1]), "compiled"),
    "data of the same name": lambda: ("silu(x)", 0, replaced(instances=(custom(FIRST.name, 2.0), *DATA[1:])), "compiled"),
}


def replaced(**fields: Any) -> Measurement:
    return dataclasses.replace(QUICK, **fields)


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_differs_is_another_entry(other: Callable[[], tuple[str, int, Measurement, Any]]) -> None:
    ResultCache(QUICK, "compiled").put("silu(x)", 0, RESULT)
    text, seed, what, backend = other()
    assert ResultCache(what, backend).get(text, seed) is None


def test_what_does_not_matter_is_the_same_entry() -> None:
    """A time limit, a gate and the other seeds change no number."""
    ResultCache(QUICK, "compiled").put("silu(x)", 0, RESULT)
    assert ResultCache(replaced(limit=1.0, gate=0.0, seeds=(0, 7)), "compiled").get("silu(x)", 0) is not None


@dataclasses.dataclass(frozen=True)
class Line:
    """Points on a line of that slope, whatever the generator."""

    slope: float

    def __call__(self, rng: np.random.Generator) -> Raw:
        x = np.linspace(-1, 1, 128)[:, None]
        return Raw(*(Split(x + k, self.slope * (x[:, 0] + k)) for k in range(3)))


def custom(name: str, slope: float) -> Instance:
    return Instance("lines", "up", name, ("x",), "slope*x", "", Line(slope))


def test_a_users_data_set_is_known_by_its_name_and_its_numbers() -> None:
    one, same_points = (measurement("quick", data=(custom("one", 2.0),)) for _ in range(2))
    ResultCache(one, "compiled").put("x", 0, RESULT)
    assert ResultCache(same_points, "compiled").get("x", 0) is not None
    other_numbers, other_name = (measurement("quick", data=(i,)) for i in (custom("one", 3.0), custom("two", 2.0)))
    assert ResultCache(other_numbers, "compiled").get("x", 0) is None
    assert ResultCache(other_name, "compiled").get("x", 0) is None  # whose networks have other initial weights
    assert measure_seed("x", one, 0).inside != measure_seed("x", other_name, 0).inside


def test_a_changed_source_is_another_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    ResultCache(QUICK, "compiled").put("silu(x)", 0, RESULT)
    monkeypatch.setattr(measure, "lab_fingerprint", lambda: "of another version")
    assert ResultCache(QUICK, "compiled").get("silu(x)", 0) is None


def test_a_damaged_entry_is_measured_again(results: DiskCache) -> None:
    with Here() as pool:
        ((_, first),) = outcomes(["tanh(x)"], QUICK, pool)
        (entry,) = results.folder.glob("*.entry")
        content = bytearray(entry.read_bytes())
        content[-3] ^= 1
        entry.write_bytes(content)
        ((_, second),) = outcomes(["tanh(x)"], QUICK, pool)
        ((_, third),) = outcomes(["tanh(x)"], QUICK, pool)
    assert same(first, second)
    assert same(second, third)
    assert pool.done == [("tanh(x)", 0)] * 2


# Over seeds


def test_what_is_on_disk_comes_first_and_is_not_measured_again() -> None:
    with Here() as pool:
        known = dict(outcomes(["sin(x)"], TWO_SEEDS, pool))
        told: list[tuple[str, int]] = []
        found = list(outcomes(["tanh(x)", "sin(x)"], TWO_SEEDS, pool, on_seed=lambda *seed: told.append(seed)))
    assert [k for k, _ in found] == [1, 0]
    assert same(found[0][1], known[0])
    assert pool.done == [("sin(x)", 0), ("sin(x)", 1), ("tanh(x)", 0), ("tanh(x)", 1)]
    assert told == [("sin(x)", 0), ("sin(x)", 1), ("tanh(x)", 0), ("tanh(x)", 1)]


def test_an_interrupted_measurement_goes_on_with_the_same_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = ["tanh(x)", "sin(x)"]
    with Here() as pool:
        expected = dict(outcomes(texts, TWO_SEEDS, pool))
    again = DiskCache(tmp_path / "again")
    monkeypatch.setattr(measure, "default_cache", lambda: again)

    def interrupt(text: str, seed: int) -> None:
        if (text, seed) == ("sin(x)", 0):
            raise KeyboardInterrupt

    with Here() as pool:
        with pytest.raises(KeyboardInterrupt):
            list(outcomes(texts, TWO_SEEDS, pool, on_seed=interrupt))
        found = dict(outcomes(texts, TWO_SEEDS, pool))
    assert pool.done == [(text, seed) for text in texts for seed in (0, 1)]  # each once
    assert all(same(found[k], expected[k]) for k in range(2))


def test_what_goes_wrong_is_a_reason_and_is_tried_again() -> None:
    texts = ["x +", "tanh(x)", "unknown(x)"]
    with CpuPool() as pool:
        pairs = list(outcomes(texts, TWO_SEEDS, pool))
        found = dict(pairs)
        assert sorted(k for k, _ in pairs) == [0, 1, 2]  # once, though both seeds fail
        assert isinstance(found[1], Outcome)
        assert str(found[0]).startswith("DSLError: line 1, column 4")
        assert "unknown" in str(found[2])
    assert evaluation.known(texts, TWO_SEEDS) == 2


def test_seeds_are_rows_of_an_outcome() -> None:
    first, second = (measure_seed("tanh(x)", QUICK, seed) for seed in (0, 1))
    both = outcome([first, second])
    assert both.outside.shape == both.variance.shape == (2, 3)
    assert both.outside.tolist() == [list(first.outside), list(second.outside)]
    assert both.seconds == (first.seconds, second.seconds)


# Rows


def test_rows_are_the_same_on_any_number_of_workers_and_as_in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expressions = ["silu", "param s[channel] = 0.5; s*tanh(x) + 0.1*shift(x, 1)", "(x - mean(x))/(std(x) + 0.1)", "relu"]
    alone = evaluate(expressions, "quick", data=DATA, workers=1)
    other = DiskCache(tmp_path / "other")
    monkeypatch.setattr(measure, "default_cache", lambda: other)
    two = evaluate(expressions[::-1], "quick", data=DATA, workers=2)[::-1]
    assert without_seconds(alone) == without_seconds(two)
    assert [row["expression"] for row in alone] == expressions
    for row in alone:
        here = score(outcome([measure_seed(row["program"], QUICK, 0)]), QUICK)
        assert (row["score"], row["fit"], row["ood_loss"]) == (here.score, here.fit, here.ood_loss)
    assert len({row["score"] for row in alone}) == 4  # negative control


@pytest.mark.usefixtures("here")
def test_rows_are_a_table_that_others_read() -> None:
    rows = evaluate(["gelu", "0.5", "log(x)"], "quick", data=DATA)
    columns = list(rows[0])
    assert all(list(row) == columns for row in rows)
    assert columns == [
        "expression", "program", "score", "difference", "low", "high", "inward", "outward", "polynomial", "harmonic", "feynman",
        "fit", "fits", "ood_loss", "diverged", "seconds", "reason",
    ]  # fmt: skip
    assert all(isinstance(value, str | float | int | bool | None) for row in rows for value in row.values())
    table = io.StringIO()
    writer = csv.DictWriter(table, columns)
    writer.writeheader()
    writer.writerows(json.loads(json.dumps(rows)))
    assert len(table.getvalue().splitlines()) == 4
    gelu, constant, undefined = rows
    assert (gelu["difference"], gelu["low"], gelu["high"]) == (0, 0, 0)
    assert gelu["score"] < -0.5 < constant["score"] < undefined["score"] == 2
    assert constant["difference"] == pytest.approx(constant["score"] - gelu["score"])
    assert (gelu["fits"], constant["fits"], undefined["fits"]) == (True, False, False)
    assert (gelu["diverged"], undefined["diverged"]) == (0, 3)
    assert undefined["reason"] is None


@pytest.mark.usefixtures("here")
def test_the_other_protocol_has_raw_errors_and_no_gate() -> None:
    (row,) = evaluate(["tanh(x)"], data=DATA[:2], protocol="paper", seeds=(5,))
    raw = measure_seed("tanh(x)", measurement(data=DATA[:2], protocol="paper"), 5)
    assert row["score"] == pytest.approx(np.mean(raw.outside))
    assert row["ood_loss"] == pytest.approx(np.median(raw.outside))
    assert row["fits"] is None


@pytest.mark.usefixtures("here")
def test_the_baseline_is_always_measured() -> None:
    (row,) = evaluate(["gelu_tanh"], "quick", data=DATA)
    assert evaluation.known([GELU], QUICK) == 1
    assert 0 < abs(row["difference"]) < 0.2
    assert evaluate([], "quick", data=DATA) == []


@pytest.mark.usefixtures("here")
def test_the_same_program_by_two_names_is_measured_once() -> None:
    told: list[tuple[str, int]] = []
    rows = evaluate(["gelu", GELU], "quick", data=DATA, on_seed=lambda *seed: told.append(seed))
    assert len(told) == 1
    assert rows[0]["score"] == rows[1]["score"]


@pytest.mark.parametrize("expression", ["silu(x", "no_such_name", "x + y", "import os"])
def test_a_mistake_in_one_expression_is_raised_before_anything_is_trained(expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    monkeypatch.setattr(evaluation, "open_pool", lambda *_, **__: started.append(1))
    with pytest.raises(DSLError, match="line 1"):
        evaluate(["tanh", expression], "quick", data=DATA)
    assert not started


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": ()}, "no seeds"),
        ({"data": ()}, "no data sets"),
        ({"seeds": (0, 0)}, "different numbers"),
        ({"seeds": (-1,)}, "different numbers from 0 on"),
        ({"workers": -1}, "at least one worker"),
        ({"fidelity": "fast"}, "no fidelity 'fast'"),
        ({"data": "everything"}, "no set of data sets called 'everything'"),
        ({"data": (dataclasses.replace(custom("a", 1.0), family="score"),)}, "cannot be called 'score'"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(["tanh"], **({"fidelity": "quick", "data": DATA} | arguments))


def test_a_text_instead_of_a_list() -> None:
    with pytest.raises(ValueError, match=r"evaluate\(\['tanh'\]\)"):
        evaluate("tanh", "quick", data=DATA)


def test_unusable_data_are_one_message() -> None:
    with pytest.raises(DataError, match=r"flat: the target is -?0 at every training point"):
        evaluate(["tanh"], "quick", data=(custom("flat", 0.0),))


def test_what_takes_too_long_is_a_row_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but one of the candidates are given no time at all."""

    def hasty(function: str, arguments: tuple[Any, ...], limit: float) -> Job:
        assert limit == QUICK.limit
        return Job(function, arguments, 30.0 if arguments[0] in ("tanh(x)", GELU) else 1e-6)

    monkeypatch.setattr(pool_module, "Job", hasty)
    slow, quick = evaluate(["silu", "tanh(x)"], "quick", data=DATA, workers=1)
    assert slow["reason"] == "took longer than 1e-06 s"
    assert {k for k, value in slow.items() if value is not None} == {"expression", "program", "reason"}
    assert list(slow) == list(quick)
    assert quick["reason"] is None
    assert quick["score"] < 0


def test_without_a_baseline_there_are_scores_but_no_differences(here: type[Here], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "lost", (GELU,))
    gelu, tanh = evaluate(["gelu", "tanh(x)"], "quick", data=DATA)
    assert gelu["reason"] == "lost"
    assert tanh["score"] < 0
    assert (tanh["difference"], tanh["low"], tanh["high"], tanh["reason"]) == (None, None, None, None)


def test_a_users_own_data() -> None:
    sampling = BoxSampling((Range(-1, 1),), (Range(1, 1.5),), np.ravel)
    mine = Instance("mine", "up", "mine-1", ("x",), "x", "", sampling)
    line, tanh = evaluate(["x", "tanh"], "quick", data=(mine, *DATA[:1]), workers=1)
    assert line["mine"] == -5
    assert line["mine"] < tanh["mine"]
    assert line["polynomial"] > tanh["polynomial"]


@pytest.mark.usefixtures("here")
def test_eager_agrees_with_compiled() -> None:
    compiled, eager = (evaluate(["silu"], "quick", data=DATA[:1], backend=b) for b in ("compiled", "eager"))
    assert eager[0]["score"] == pytest.approx(compiled[0]["score"], rel=1e-3)
    assert eager[0]["score"] != compiled[0]["score"]  # it was another computation


# What is loaded


def loaded(code: str) -> str:
    """Which of the heavy packages a new process has loaded after the code."""
    tail = "\nimport sys; print('loaded:', *(m for m in ('torch', 'numba', 'llvmlite', 'scipy') if m in sys.modules))"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", code + tail], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return result.stdout.splitlines()[-1].removeprefix("loaded:").strip()


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["data", "list"], ["lab", "--help"]], ids=" ".join)
def test_commands_that_do_not_train_load_no_compiler(arguments: list[str]) -> None:
    found = loaded(f"from gp.cli import main; main({arguments!r})")
    assert "torch" not in found
    assert "numba" not in found


def test_training_needs_no_torch_and_the_parent_no_numba() -> None:
    what = "from gp.lab.measure import measure_seed; from gp.lab.protocol import measurement; from gp.lab.data import instance\n"
    what += "quick = measurement('quick', data=(instance('polynomial-down-1-3'),))\n"
    found = loaded(what + "measure_seed('param s[channel] = 1; s*tanh(x - mean(x)) + shift(x, 1)', quick, 0)")
    assert "numba" in found
    assert "torch" not in found
    parent = "from gp.lab import evaluate; from gp.lab.data import instance\n"
    parent = loaded(parent + "print(evaluate(['tanh'], 'quick', data=(instance('polynomial-down-1-3'),), workers=1)[0]['score'])")
    assert "numba" not in parent
    assert "torch" not in parent


def test_a_prepared_worker_trains_at_once() -> None:
    """What the first use costs is not counted as training."""
    with Workers(1, prepare="gp.lab.measure:prepare") as prepared, Workers(1) as bare:
        first, other = (dict(w.run([Job("gp.lab.measure:measure_seed", ("x*cos(x)", QUICK, 0), 30.0)]))[0] for w in (prepared, bare))
    assert first.seconds < 0.5 * other.seconds

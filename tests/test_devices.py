"""Where candidates are trained: names of devices, the way back to the CPU, and everything that trains, on a GPU that is none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gpu import TASKS, TEXTS, TINY, TWO, Fake, HerePool, expected, in_order, timeless

import gp
from gp.cli import main
from gp.evolution import evaluator as evaluator_module
from gp.evolution.cascade import Batch
from gp.evolution.config import Config
from gp.evolution.engine import Observer
from gp.evolution.evaluator import Evaluator
from gp.lab import chunks, devices, evaluation, measure
from gp.lab import pool as pool_module
from gp.lab.devices import DeviceError, resolve
from gp.lab.evaluation import canonical
from gp.lab.measure import SeedResult
from gp.lab.pool import CpuPool, GpuPool, Pool, open_pool
from gp.run_reading import read_about
from gp.run_store import RunStore
from gp.workers import Failure, Job
from kernels.cache import DiskCache
from kernels.host import host

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = {"population": 8, "islands": 2, "generations": 1, "stages": 1, "steps": 5, "gate": 2, "finalists": 2, "hall": 2, "tuned": 0}

pytestmark = pytest.mark.usefixtures("one_torch_thread")


# Names


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A machine with so many GPUs, as far as names go."""

    def have(count: int) -> None:
        monkeypatch.setattr(devices, "_may_have_gpus", lambda: count > 0)
        monkeypatch.setattr(devices, "gpu_count", lambda: count)

    return have


@pytest.mark.parametrize(
    ("count", "name", "found"),
    [
        (0, "cpu", "cpu"), (0, "auto", "cpu"), (3, "cpu", "cpu"), (3, "auto", "cuda:0,cuda:1,cuda:2"), (1, "cuda", "cuda:0"),
        (3, "cuda", "cuda:0,cuda:1,cuda:2"), (3, "cuda:1", "cuda:1"), (3, "cuda:2,cuda:0", "cuda:2,cuda:0"), (3, "cuda:1,cuda:1", "cuda:1"),
    ],
)  # fmt: skip
def test_names(gpus: Callable[[int], None], count: int, name: str, found: str) -> None:
    gpus(count)
    assert ",".join(resolve(name)) == found


@pytest.mark.parametrize(
    "name", ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:01", "cuda:x", "cuda:0,", "cuda:0,cpu", "cuda,cuda:0", "cpu:0"]
)
def test_names_of_nothing(gpus: Callable[[int], None], name: str) -> None:
    gpus(2)
    with pytest.raises(DeviceError, match=r"there is no device .*; choose auto, cpu, cuda"):
        resolve(name)


def test_a_gpu_that_is_not_there(gpus: Callable[[int], None]) -> None:
    gpus(2)
    with pytest.raises(DeviceError, match="there is no device cuda:2; this machine has cpu, cuda:0, cuda:1"):
        resolve("cuda:0,cuda:2")
    gpus(0)
    for name in ("cuda", "cuda:0"):
        with pytest.raises(DeviceError, match=f"device {name}: there is no GPU that torch can use .* choose cpu"):
            resolve(name)


def test_the_cpu_needs_no_torch() -> None:
    code = "import sys; from gp.lab.pool import open_pool; open_pool('cpu', 1); print('torch' in sys.modules); "
    code += "from gp.lab.devices import gpu_count; gpu_count(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


# Opening a pool


def test_a_gpu_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As tried in its worker: the CPU takes over if nobody asked for a GPU by name."""
    monkeypatch.setattr(pool_module, "resolve", lambda name: ("cuda:77",))
    said: list[str] = []
    with open_pool("auto", 3, say=said.append) as pool:
        assert isinstance(pool, CpuPool)
        assert (pool.device, pool.method, pool.workers.count) == ("cpu", "compiled", 3)
    (message,) = said
    reason = message.removesuffix("; training on the CPU instead")
    assert reason != message
    assert reason.startswith("cuda:77 cannot be used: ")
    with pytest.raises(DeviceError) as error:
        open_pool("cuda", 3, say=said.append)
    assert str(error.value) == reason
    assert len(said) == 1
    with pytest.warns(RuntimeWarning, match="cuda:77 cannot be used: .*; training on the CPU instead"):
        open_pool("auto", 1)


def test_every_gpu_has_a_worker() -> None:
    """The first jobs go to them in their order, which the check's messages rely on."""
    with GpuPool(("cuda:3", "cuda:1")) as pool:
        found = dict(pool.workers.run([Job("worker_jobs:place_after", (0.0,), 30.0)] * 2))
    assert (found[0], found[1]) == ("cuda:3", "cuda:1")


def test_the_backend_eager_is_of_the_cpu(gpus: Callable[[int], None]) -> None:
    gpus(1)
    for device in ("auto", "cpu"):
        with open_pool(device, 1, backend="eager") as pool:
            assert (pool.device, pool.method) == ("cpu", "eager")
    with pytest.raises(DeviceError, match="the backend eager trains on the CPU alone; leave out the device cuda"):
        open_pool("cuda", 1, backend="eager")


# The whole way


def test_a_worker_trains_as_the_cpu_does() -> None:
    """The real trainer in real processes, its kernels interpreted."""
    texts = ("x*sigmoid(x)", "param a[channel] = 0.5; a*tanh(x) + 0.1*(x - mean(x))", "x*sigmoid(0.3*x)")
    tasks = (*((text, seed) for text in texts for seed in (0, 1)), ("tanh(", 0))
    with GpuPool(("cpu", "cpu:0")) as pool:
        *found, bad = in_order(pool, tasks)
    assert isinstance(bad, Failure)
    for one, other, wrong in zip(found, expected(tasks[:-1]), expected(tasks[1:-1] + tasks[:1]), strict=True):
        np.testing.assert_allclose(numbers(one), numbers(other), rtol=1e-4)
        assert (one.variance, one.constant_error) == (other.variance, other.constant_error)
        assert not np.allclose(numbers(one), numbers(wrong), rtol=1e-2)  # negative control


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    monkeypatch.setattr(chunks, "BatchedTrainer", Fake)
    monkeypatch.setattr(Fake, "sizes", [])
    return Fake


def numbers(result: Any) -> list[float]:
    assert isinstance(result, SeedResult), result
    return [*result.inside, *result.outside]


@pytest.fixture
def gpu(fake: type[Fake], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[HerePool]]:
    """Two GPUs with the numbers of the CPU, and room for two candidates at once."""
    monkeypatch.setattr(fake, "most", 2)
    opened: list[HerePool] = []

    def open_fake(device: str, workers: int, **_: Any) -> Pool:
        if device == "cpu":
            return CpuPool(workers)
        pool = HerePool(2)
        pool.hardware = "a fake"
        opened.append(pool)
        return pool

    for module in (evaluator_module, evaluation):
        monkeypatch.setattr(module, "open_pool", open_fake)
    return opened


def test_an_evaluator_keeps_the_order_and_may_be_left_early(gpu: list[HerePool]) -> None:
    by_seed = tuple((text, seed) for seed in (1, 0) for text in TEXTS[:3])  # of which all of a program come together
    with Evaluator(1, device="cuda") as evaluator:
        assert timeless(list(evaluator.measure(Batch("quick", TINY, by_seed)))) == expected(by_seed)
        arriving = evaluator.measure(Batch("quick", TINY, TASKS))
        assert timeless([next(arriving)]) == expected(TASKS[:1])
        arriving.close()
    assert [len(chunk) for chunk in gpu[0].here.chunks] == [4, 2, 4]  # the last was not begun


def test_a_search_on_gpus_is_that_on_the_cpu(gpu: list[HerePool], tmp_path: Path) -> None:
    """Where they compute the same; and the record says what measured."""
    there = gp.search(SETTINGS, device="auto", out=tmp_path / "gpu")
    here = gp.search(SETTINGS, device="cpu", out=tmp_path / "cpu")
    assert there.hall == here.hall
    assert there.hall.complete
    assert sum(map(len, gpu[0].here.chunks)) > 16
    assert json.loads(read_about(tmp_path / "gpu")["devices"]) == [["cuda:0,cuda:1", "a fake"]]
    assert json.loads(read_about(tmp_path / "cpu")["devices"]) == [["cpu", host().cpu]]


def test_a_run_goes_on_where_it_was(gpu: list[HerePool], tmp_path: Path) -> None:
    config = Config(**SETTINGS)

    class Stop(Observer):
        def batch_started(self, batch: Batch) -> None:
            raise KeyboardInterrupt

    def stopped(device: str | None) -> None:
        with pytest.raises(KeyboardInterrupt):
            gp.resume(tmp_path / "run", device=device, observers=[Stop()])

    with RunStore.create(tmp_path / "run", config) as store:
        assert store.device is None
    stopped("cuda")
    stopped(None)
    assert len(gpu) == 2
    stopped("cpu")
    assert len(gpu) == 2
    assert [device for device, _ in json.loads(read_about(tmp_path / "run")["devices"])] == ["cuda:0,cuda:1", "cpu"]
    with RunStore.resume(tmp_path / "run") as store:
        assert store.device == "cpu"


def test_rows_of_gpus_and_cpu_are_kept_apart(gpu: list[HerePool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = DiskCache(tmp_path / "results")
    monkeypatch.setattr(measure, "default_cache", lambda: cache)
    rows = {device: gp.lab.evaluate(["tanh"], "quick", data=TWO, device=device)[0]["score"] for device in ("cuda", "cpu", "auto")}
    assert len(set(rows.values())) == 1
    assert [sorted(text for text, _ in chunk) for chunk in gpu[0].here.chunks] == [["tanh(x)"], [canonical("gelu")]]
    assert gpu[1].here.chunks == []  # known
    assert len(list(cache.folder.glob("*.entry"))) == 4


# The command line

COMMANDS = {
    "run": ["run", "--set", "population=8", "--out", "made"],
    "lab": ["lab", "relu"],
    "compare": ["compare", "relu", "tanh"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "there is no device 'gpu'; choose auto, cpu, cuda (all GPUs), cuda:1"),
        ("cuda:1", "there is no device cuda:1; this machine has"),
    ],
)
def test_a_wrong_device_is_one_message(
    command: str, device: str, message: str, gpus: Callable[[int], None], capfd: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    gpus(1)
    assert main([*COMMANDS[command], "--device", device]) == 2
    output, error = capfd.readouterr()
    assert error.startswith(f"gp: {message}")
    assert error.count("\n") == 1
    assert output == ""
    assert list(tmp_path.iterdir()) == []


def test_resume_of_a_run_whose_gpu_is_gone(gpus: Callable[[int], None], capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    gpus(0)
    with RunStore.create(tmp_path / "run", Config()) as store:
        store.note_device("cuda:1", "H100")
    assert main(["resume", str(tmp_path / "run")]) == 2
    assert capfd.readouterr().err.startswith("gp: device cuda:1: there is no GPU that torch can use (gp doctor says more); choose cpu")


def test_the_command_line_says_that_the_cpu_takes_over(
    gpus: Callable[[int], None], capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: GpuPool) -> None:
        raise DeviceError("cuda:0 cannot be used: RuntimeError: no kernel image is available")

    gpus(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(GpuPool, "check", refuse)
    (tmp_path / "line.csv").write_text("\n".join(["a,y,split", *(f"{k},{k},{s}" for s in ("train", "id", "ood") for k in range(64))]))
    arguments = ["lab", "relu", "--fidelity", "quick", "--data", "line.csv", "--workers", "1"]
    assert main(arguments) == 0
    output, error = capfd.readouterr()
    assert error.splitlines()[0] == "gp: cuda:0 cannot be used: RuntimeError: no kernel image is available; training on the CPU instead"
    assert "relu" in output
    assert main([*arguments, "--device", "cuda"]) == 2
    assert capfd.readouterr() == ("", "gp: cuda:0 cannot be used: RuntimeError: no kernel image is available\n")
    assert main([*arguments, "--device", "cuda", "--backend", "eager"]) == 2
    assert capfd.readouterr().err.startswith("gp: the backend eager trains on the CPU alone")

"""Worker processes: results, and what is left when a job fails, crashes, hangs or is no longer wanted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from worker_jobs import Unreadable

from gp.workers import Failure, Job, Workers

SOON = 5.0  # seconds within which what happens at once has happened, on a busy machine


def job(function: str, *arguments: Any, limit: float = 30.0) -> Job:
    return Job(f"worker_jobs:{function}", arguments, limit)


def results(workers: Workers, *jobs: Job) -> list[Any]:
    """The results in the order of the jobs, each of which must have one."""
    found = list(workers.run(jobs))
    assert sorted(k for k, _ in found) == list(range(len(jobs)))
    return [result for _, result in sorted(found, key=lambda pair: pair[0])]


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")  # an orphan that nobody waits for


def wait_until_gone(process: int, limit: float) -> None:
    start = time.monotonic()
    while alive(process):
        assert time.monotonic() - start < limit, "a process is left behind"
        time.sleep(0.02)


def wait_for(file: Path) -> str:
    deadline = time.monotonic() + SOON
    while not file.exists() or not file.read_text():
        assert time.monotonic() < deadline, f"{file} was not written"
        time.sleep(0.02)
    return file.read_text()


@pytest.fixture(scope="module")
def one() -> Iterator[Workers]:
    """One worker, which tests replace as they kill it."""
    with Workers(1) as workers:
        yield workers


def test_results_come_as_they_are_ready_with_the_number_of_their_job() -> None:
    with Workers(2) as workers:
        found = list(workers.run([job("sleep", 1.0), *(job("sleep", 0.001 * k) for k in range(1, 6))]))
        assert sorted(found) == [(0, 1.0), *((k, 0.001 * k) for k in range(1, 6))]
        assert found[-1] == (0, 1.0)
        processes = results(workers, *[job("process")] * 4, job("sleep", 0.2))[:4]
        assert os.getpid() not in processes
        assert results(workers, *[job("process")])[0] in processes  # they serve again
    assert list(workers.run([])) == []


def test_large_values_travel(one: Workers) -> None:
    value = bytes(5_000_000)
    assert results(one, job("echo", value), job("echo", [value, None])) == [value, [value, None]]


def test_a_worker_is_a_fresh_python_with_one_thread(one: Workers) -> None:
    modules = ("pytest", "numpy", "torch", "worker_jobs")
    assert all(m in sys.modules for m in modules)
    assert results(one, job("imported", *modules), job("environment", "OMP_NUM_THREADS")) == [["worker_jobs"], "1"]


def test_a_worker_finds_modules_where_its_parent_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("def answer():\n    return 42\n")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "kernels").mkdir(parents=True)
    (elsewhere / "kernels" / "__init__.py").write_text("raise SystemExit('the wrong package was imported')\n")
    monkeypatch.chdir(elsewhere)  # where a user is does not matter
    answer = Job("only_here:answer", (), SOON)
    with Workers(1) as workers:
        assert results(workers, answer) == [Failure("ModuleNotFoundError: No module named 'only_here'")]
    monkeypatch.syspath_prepend(tmp_path)
    with Workers(1) as workers:
        assert results(workers, answer) == [42]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (job("fail", "missing"), "KeyError: 'missing'"),
        (job("crash"), "the worker crashed (SIGSEGV)"),
        (job("leave", 3), "the worker ended (exit status 3)"),
        (job("nothing"), "AttributeError: module 'worker_jobs' has no attribute 'nothing'"),
        (job("echo"), "TypeError: echo() missing 1 required positional argument: 'value'"),
        (job("make_function"), "Can't pickle local object|Can't get local object"),
        (job("echo", Unreadable()), "ValueError: invalid literal for int() with base 10: 'no number'"),
    ],
    ids=["exception", "crash", "exit", "no such function", "wrong arguments", "result cannot be sent", "argument cannot be read"],
)
def test_a_job_that_fails_says_why_and_the_next_goes_on(one: Workers, bad: Job, reason: str) -> None:
    first, failure, second = results(one, job("echo", 1), bad, job("echo", 2))
    assert (first, second) == (1, 2)
    assert isinstance(failure, Failure)
    assert any(text in failure.reason for text in reason.split("|"))


def test_an_exception_keeps_the_worker_and_a_crash_costs_it(one: Workers) -> None:
    before, _, same, _, other = results(one, job("process"), job("fail", ""), job("process"), job("crash"), job("process"))
    assert before == same
    assert before != other
    assert not alive(before)


@pytest.mark.parametrize("fresh", [False, True])
def test_a_job_past_its_limit_is_killed(fresh: bool, tmp_path: Path) -> None:
    """Whether or not the worker has just been started, which takes time of its own."""
    file = tmp_path / "process"
    with Workers(1) as workers:
        if not fresh:
            results(workers, job("echo", 0))
        start = time.monotonic()
        hung = job("note_process_and_sleep", file, 60.0, limit=0.5)
        assert results(workers, hung, job("echo", 1)) == [Failure("took longer than 0.5 s"), 1]
        assert 0.5 <= time.monotonic() - start < 0.5 + SOON
        assert not alive(int(file.read_text()))


def test_a_job_in_native_code_that_hears_no_signal_is_killed(one: Workers) -> None:
    start = time.monotonic()
    assert results(one, job("sleep_deaf", 60.0, limit=0.5), job("echo", 1)) == [Failure("took longer than 0.5 s"), 1]
    assert time.monotonic() - start < 0.5 + SOON


MB = 1_000_000


@pytest.fixture(scope="module")
def small() -> Iterator[Workers]:
    """One worker that may have 300 MB."""
    with Workers(1, memory=300 * MB) as workers:
        yield workers


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not count a process's data")
@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("fill_array", "took more than 300 MB"),
        ("fill_list", "took more than 300 MB"),
        ("fill_in_c", "the worker crashed (SIGSEGV)"),
    ],
)
def test_a_job_that_takes_too_much_memory_costs_nothing_but_itself(small: Workers, one: Workers, function: str, reason: str) -> None:
    for _ in range(2):  # memory that a job has given back counts no more
        assert results(small, job(function, 100 * MB)) == [100 * MB]
    assert results(small, job("echo", 1), job(function, 500 * MB), job("echo", 2)) == [1, Failure(reason), 2]
    assert results(one, job(function, 500 * MB)) == [500 * MB]  # negative control: the same without a limit


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not count a process's data")
def test_arguments_and_results_that_are_too_large_are_too_much_memory(small: Workers) -> None:
    too_much = Failure("took more than 300 MB")
    assert results(small, job("make_bytes", 200 * MB), job("echo", 1)) == [too_much, 1]  # the result is there twice, as it is and pickled
    assert results(small, job("echo", bytes(200 * MB)), job("echo", 1)) == [too_much, 1]


def test_memory_that_no_machine_has_is_a_reason_without_a_limit(one: Workers) -> None:
    assert results(one, job("make_bytes", 2**62), job("echo", 1)) == [Failure("ran out of memory"), 1]


def test_what_a_worker_prepares_is_not_refused_memory() -> None:
    with Workers(1, prepare="worker_jobs:prepare_much", memory=300 * MB) as workers:
        assert results(workers, job("environment", "PREPARED"), job("make_bytes", 400 * MB)) == ["yes", Failure("took more than 300 MB")]


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not count a process's data")
def test_a_lower_limit_of_the_system_stays() -> None:
    with Workers(1, prepare="worker_jobs:prepare_with_little", memory=300 * MB) as workers:
        found = results(workers, job("fill_array", 100 * MB), job("fill_array", 250 * MB), job("echo", 1))
        assert found == [100 * MB, Failure("took more than 300 MB"), 1]


def test_busy_is_the_time_that_workers_have_a_job() -> None:
    """Not the second in which each prepares, nor that in which they are idle; bounds leave a busy machine less than these would add."""
    with Workers(2, prepare="worker_jobs:prepare_slowly") as workers:
        assert workers.busy == 0
        results(workers, *[job("sleep", 0.5)] * 4)
        assert 2.0 <= workers.busy < 3.0
        time.sleep(1.0)
        before = workers.busy
        running = workers.run([job("sleep", 0.5), job("sleep", 60.0)])
        next(running)
        running.close()  # what is dropped was in hand too
        assert 0.9 <= workers.busy - before < 1.9
        before = workers.busy
        results(workers, job("sleep", 60.0, limit=0.5), job("crash"))
        assert 0.5 <= workers.busy - before < 1.4


def test_a_hanging_job_holds_no_other_up() -> None:
    with Workers(2) as workers:
        found = list(workers.run([job("sleep", 60.0, limit=1.5), *[job("echo", k) for k in range(20)]]))
    assert found[-1] == (0, Failure("took longer than 1.5 s"))
    assert [result for _, result in found[:-1]] == list(range(20))


def test_a_caller_may_take_its_time() -> None:
    """Meanwhile a worker past its limit ends by itself, and an idle one stays."""
    with Workers(2) as workers:
        running = workers.run([job("process", limit=0.5), job("sleep", 60.0, limit=0.5)])
        number, idle = next(running)
        assert number == 0
        time.sleep(2.5)
        assert list(running) == [(1, Failure("took longer than 0.5 s"))]
        assert results(workers, job("process"), job("process")).count(idle) == 1


def test_what_a_worker_prepares_is_not_counted() -> None:
    with Workers(1, prepare="worker_jobs:prepare_slowly") as workers:
        assert results(workers, job("environment", "PREPARED", limit=0.5), job("sleep", 0.001, limit=0.5)) == ["yes", 0.001]
        assert results(workers, job("sleep", 1.0, limit=0.5)) == [Failure("took longer than 0.5 s")]  # negative control


def test_a_worker_that_cannot_prepare_is_a_reason() -> None:
    with Workers(1, prepare="worker_jobs:prepare_wrongly") as workers:
        assert results(workers, job("echo", 1), job("echo", 2)) == [Failure("the worker ended (exit status 7)")] * 2


def test_an_error_while_a_worker_prepares_is_the_reason_and_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with Workers(1, prepare="worker_jobs:prepare_without_a_library") as workers:
        assert results(workers, job("echo", 1), job("echo", 2)) == [Failure("OSError: libnothing.so: cannot open shared object file")] * 2
    with Workers(1, prepare="worker_jobs:prepare_without_memory") as workers:
        assert results(workers, job("echo", 1)) == [Failure("there was not enough memory for a worker to start")]
    assert capfd.readouterr().err == ""


def test_want_of_memory_by_another_name_costs_the_worker(one: Workers) -> None:
    process, reason, other = results(one, job("process"), job("lack_memory"), job("process"))
    assert reason == Failure("ran out of memory")
    assert other != process


def test_stopping_early_leaves_no_process_and_the_workers_can_be_used_again(tmp_path: Path) -> None:
    file = tmp_path / "process"
    with Workers(2) as workers:
        running = workers.run([job("note_process_and_sleep", file, 60.0), job("echo", 1), job("sleep", 60.0)])
        assert next(running) == (1, 1)
        hung = int(wait_for(file))
        assert alive(hung)
        running.close()
        assert not alive(hung)
        assert results(workers, job("echo", 2), job("echo", 3)) == [2, 3]


def test_leaving_ends_every_process(tmp_path: Path) -> None:
    with Workers(2) as workers:
        idle = results(workers, job("process"), job("sleep", 0.3))[0]
        running = workers.run([job("note_process_and_sleep", tmp_path / "process", 60.0), job("echo", 1)])
        assert next(running) == (1, 1)
        busy = int(wait_for(tmp_path / "process"))
        assert alive(idle)
        assert alive(busy)
    assert not alive(idle)
    assert not alive(busy)


def test_an_error_in_the_caller_ends_every_process(tmp_path: Path) -> None:

    def fail() -> None:
        with Workers(2) as workers:
            for _ in workers.run([job("note_process_and_sleep", tmp_path / "process", 60.0), job("echo", 1)]):
                wait_for(tmp_path / "process")
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not alive(int((tmp_path / "process").read_text()))


def test_a_killed_parent_leaves_no_worker(tmp_path: Path) -> None:
    """An idle worker sees the end at once, a busy one when its job ends or its time is over."""
    code = f"""
import pathlib, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from gp.workers import Job, Workers
with Workers(2) as workers:
    jobs = [Job("worker_jobs:note_process_and_sleep", (pathlib.Path({str(tmp_path / "busy")!r}), 60.0), 1.0),
            Job("worker_jobs:process", (), 5.0)]
    for number, result in workers.run(jobs):
        pathlib.Path({str(tmp_path / "idle")!r}).write_text(str(result))
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent.parent) as parent:
        idle, busy = int(wait_for(tmp_path / "idle")), int(wait_for(tmp_path / "busy"))
        assert alive(idle)
        assert alive(busy)
        parent.send_signal(signal.SIGKILL)
    wait_until_gone(idle, SOON)
    wait_until_gone(busy, 1.0 + SOON)


def test_a_worker_whose_parent_was_killed_meanwhile_says_nothing() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    code = f"from gp.workers import serve; serve({theirs.fileno()}, '', 0)"
    done = subprocess.run([sys.executable, "-c", code], pass_fds=[theirs.fileno()], capture_output=True, text=True, check=False)
    theirs.close()
    assert (done.returncode, done.stderr) == (0, "")


def test_a_worker_killed_from_outside_is_replaced(one: Workers) -> None:
    idle = results(one, job("process"))[0]
    os.kill(idle, signal.SIGKILL)
    wait_until_gone(idle, SOON)
    assert results(one, job("echo", 1), job("echo", 2)) == [1, 2]


def test_a_worker_killed_with_a_job_in_hand_is_no_failure_of_the_job(one: Workers, tmp_path: Path) -> None:
    assert results(one, job("die_at_first", tmp_path / "count", 2), job("echo", 2)) == ["alive", 2]
    assert (tmp_path / "count").read_text() == "xxx"


def test_a_job_whose_workers_die_again_and_again_is_a_failure(one: Workers, tmp_path: Path) -> None:
    lost, found = results(one, job("die_at_first", tmp_path / "count", 9), job("echo", 2))
    assert (lost, found) == (Failure("the worker crashed (SIGKILL)"), 2)
    assert (tmp_path / "count").read_text() == "xxx"


def test_a_worker_killed_while_it_prepares_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEATHS", str(tmp_path / "count"))
    with Workers(1, prepare="worker_jobs:prepare_to_die") as workers:
        assert results(workers, job("echo", 1)) == [1]


def test_every_worker_has_a_place_which_the_one_that_replaces_it_takes_over() -> None:
    with Workers(2, places=("cuda:0", "cuda:3")) as workers:
        both = [job("place_after", 0.0), job("place_after", 0.0)]
        assert results(workers, *both) == ["cuda:0", "cuda:3"]
        for bad, reason in (
            (job("leave_place", 3), "the worker ended (exit status 3)"),
            (job("place_after", 60.0, limit=0.2), "took longer than 0.2 s"),
        ):
            assert results(workers, bad) == [Failure(reason)]
            assert set(results(workers, *both)) == {"cuda:0", "cuda:3"}
        next(workers.run([job("place_after", 0.0), job("place_after", 60.0)]))  # and one that is dropped
        assert set(results(workers, *both)) == {"cuda:0", "cuda:3"}


def test_there_must_be_a_worker() -> None:
    with pytest.raises(ValueError, match="at least one worker, not 0"):
        Workers(0)

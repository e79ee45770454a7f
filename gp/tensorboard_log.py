"""Curves of a run for TensorBoard: after each generation a value of each, by the number of the generation.

best/difference, best/score          of the best function so far
median/STAGE                         the median difference to gelu, of those that were trained to the end of the stage
funnel/STAGE entered, ... completed  candidates of this generation
rejected/REASON                      of this generation
speed/measurements per second        a measurement is a program trained with one seed
archive/cells                        kinds of behaviour that were found, on all islands together
operator/NAME                        its share of the children
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from types import TracebackType

from gp.evolution.engine import Engine
from gp.tally import Summary, Tally


class TensorBoardLog(Tally):
    """Writes a new file of events into a directory; a context. Raises ImportError where tensorboardX is not installed, and OSError, with
    the directory's name, where it cannot be written."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        # An optional dependency. Its writer for users fills the file in a thread, whose errors nobody hears; this one is what that uses.
        from tensorboardX.event_file_writer import EventsWriter  # noqa: PLC0415

        super().__init__(engine)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")

    def __enter__(self) -> TensorBoardLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # after each generation all is on disk, or it was said that it is not
            self._writer.close()

    def summarised(self, summary: Summary) -> None:
        from tensorboardX.proto.event_pb2 import Event  # noqa: PLC0415
        from tensorboardX.proto.summary_pb2 import Summary as Values  # noqa: PLC0415

        values = [Values.Value(tag=tag.replace(" ", "_"), simple_value=value) for tag, value in self._scalars(summary).items()]
        try:
            self._writer.write_event(Event(wall_time=time.time(), step=summary.generation, summary=Values(value=values)))
            self._writer.flush()
        except OSError as error:
            raise OSError(error.errno, f"cannot write the curves for TensorBoard: {error.strerror}", str(self._folder)) from error

    def _scalars(self, summary: Summary) -> dict[str, float]:
        found: dict[str, float] = {}
        if summary.best is not None and summary.best.score is not None:
            found |= {"best/difference": summary.best.differences[-1], "best/score": summary.best.score.score}
        found |= {f"median/{stage}": median for stage, median in summary.medians.items()}
        for stage, passage in summary.funnel.items():
            found |= {f"funnel/{stage} entered": passage.entered, f"funnel/{stage} completed": passage.completed}
        # Reasons that were given before have a 0, so that their curves go on.
        found |= {f"rejected/{reason}": summary.rejections.get(reason, 0) for reason in self.engine.admission.rejections}
        found["speed/measurements per second"] = summary.measurements_per_second
        found["archive/cells"] = sum(len(island.archive) for island in self.engine.islands)
        return found | {f"operator/{name}": share for name, share in self.engine.credit.shares().items()}

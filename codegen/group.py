"""A group: the kernels of several expressions as one, which branches on the expression's index.

A population's tensor is seen as slices x rows x channels. Each slice belongs to one expression, and all else that an expression
reads is given by slice in slots: its constants, its learnable parameters, the means of earlier stages. So what is compiled depends on
the structure of the expressions alone, and a group has as many slots of a kind as the one of its expressions that needs most.

Groups have stages as plans do (`codegen.plan`): one for each level of means, and the results. An expression with fewer levels of means has
no part in the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from codegen.build import LearnableParameter
from codegen.instructions import Span
from codegen.kernel import Input, Kernel
from codegen.plan import Plan, Stage

# Where an input comes from. `x`, `cotangent`: the tensors, at the element itself; `x_view`, `cotangent_view`: shifted along the channels.
# `channel`, `channel_mean`: numbers per channel, shifted by an amount that is given for each expression, as for the views.
Kind = Literal[
    "x", "x_view", "cotangent", "cotangent_view", "constant", "scalar", "scalar_mean", "row_mean", "channel", "channel_mean"
]  # fmt: skip
SPANS: Final[dict[Kind, Span]] = {
    "x": Span.ELEMENT, "x_view": Span.ELEMENT, "cotangent": Span.ELEMENT, "cotangent_view": Span.ELEMENT,
    "row_mean": Span.ROW, "channel": Span.CHANNEL, "channel_mean": Span.CHANNEL,
    "constant": Span.SCALAR, "scalar": Span.SCALAR, "scalar_mean": Span.SCALAR,
}  # fmt: skip
VIEWS: Final[tuple[Kind, ...]] = ("x_view", "cotangent_view", "channel", "channel_mean")  # whose slots have entries in `StageMember.views`
SUMS: Final = (Span.SCALAR, Span.ROW, Span.CHANNEL)
MEANS: Final[dict[Span, Kind]] = {Span.SCALAR: "scalar_mean", Span.ROW: "row_mean", Span.CHANNEL: "channel_mean"}
PARAMETERS: Final[dict[Kind, bool]] = {"scalar": False, "channel": True}  # and whether they are given per channel
NOT_USED: Final = -(1 << 30)  # in place of a shift

Slot = tuple[Kind, int]


@dataclass(frozen=True, slots=True)
class View:
    """What a slot of a kind in `VIEWS` shows to one expression: number `index` of its kind, `shift` places away along the channels."""

    index: int
    shift: int


@dataclass(frozen=True, slots=True)
class StageMember:
    """One expression in one stage of its plan.

    `slots`: where each input of its kernel is found. `views`: what the slots of each kind in `VIEWS` show. `places`: for each of the
    kernel's outputs its span and which of those it is: the number of a tensor, or the slot of a sum.
    """

    expression: int
    stage: Stage
    slots: Mapping[str, Slot]
    views: Mapping[Kind, tuple[View, ...]]
    places: tuple[tuple[Span, int], ...]

    @property
    def kernel(self) -> Kernel:
        return self.stage.kernel


@dataclass(frozen=True, slots=True)
class GroupStage:
    """One kernel of a group, before it is printed. `counts`: the slots of each kind that it reads; `arrays`: how many numbers, rows or
    vectors of a kind there are for each slice; `outputs`: how many tensors it writes (ELEMENT), and the slots of sums over each span.

    `first_mean`: where this stage's sums begin among the slots of means, by span; a stage of means writes nothing else.
    """

    name: str
    members: tuple[StageMember, ...]
    counts: Mapping[Kind, int]
    arrays: Mapping[Kind, int]
    outputs: Mapping[Span, int]
    first_mean: Mapping[Span, int] | None

    @property
    def flat(self) -> bool:
        """Whether rows and channels do not matter, so that a slice can be run through as one long row."""
        return all(member.kernel.flat for member in self.members)

    @property
    def columns(self) -> list[tuple[Kind, int]]:
        """The columns of the table of views: two for each slot, index and shift."""
        return [(kind, slot) for kind in VIEWS for slot in range(self.counts[kind])]


@dataclass(frozen=True, slots=True)
class Group:
    """The stages in order, and for parameters and means how many of a kind there are for each slice."""

    stages: tuple[GroupStage, ...]
    arrays: Mapping[Kind, int]


def group(name: str, plans: Sequence[Plan], parameters: Sequence[Sequence[LearnableParameter]]) -> Group:
    """The plans of several expressions as one group; `parameters` are those of each."""
    depth = max(len(plan.stages) for plan in plans) - 1
    levels = [[(k, plan.stages[n]) for k, plan in enumerate(plans) if len(plan.stages) > n + 1] for n in range(depth)]
    begins = [dict.fromkeys(SUMS, 0)]
    for here in levels:
        most = {span: max(sum(o.span is span for o in stage.kernel.outputs) for _, stage in here) for span in SUMS}
        begins.append({span: begins[-1][span] + most[span] for span in SUMS})
    totals: dict[Kind, int] = {kind: begins[-1][span] for span, kind in MEANS.items()}
    for kind, per_channel in PARAMETERS.items():
        totals[kind] = max(sum(p.per_channel is per_channel for p in found) for found in parameters)
    means: list[dict[str, int]] = [{} for _ in plans]  # of each expression: the slot of each mean
    stages = []
    for level, here in enumerate(levels):
        members = []
        for k, stage in here:
            outputs = _numbered([o.span for o in stage.kernel.outputs])
            members.append(_member(k, stage, parameters[k], means[k], outputs))
            means[k] |= {o.name: begins[level][span] + slot for o, (span, slot) in zip(stage.kernel.outputs, outputs, strict=True)}
        stages.append(_stage(f"{name}_level{level + 1}", members, totals, begins[level]))
    final = []
    for k, plan in enumerate(plans):
        final.append(_member(k, plan.stages[-1], parameters[k], means[k], _numbered([o.span for o in plan.stages[-1].kernel.outputs])))
    stages.append(_stage(name, final, totals, None))
    return Group(tuple(stages), totals)


def _numbered(spans: Sequence[Span]) -> list[tuple[Span, int]]:
    """Spans, each with how many equal ones stand before it."""
    return [(span, list(spans[:k]).count(span)) for k, span in enumerate(spans)]


def _member(
    expression: int, stage: Stage, parameters: Sequence[LearnableParameter], means: Mapping[str, int], places: Sequence[tuple[Span, int]]
) -> StageMember:
    numbers = {
        p.name: number for per_channel in (False, True) for number, p in enumerate(q for q in parameters if q.per_channel is per_channel)
    }
    slots: dict[str, Slot] = {}
    views: dict[Kind, list[View]] = {kind: [] for kind in VIEWS}

    def viewed(kind: Kind, index: int, shift: int) -> Slot:
        views[kind].append(View(index, shift))
        return kind, len(views[kind]) - 1

    for item in stage.kernel.inputs:
        slots[item.name] = _slot(item, numbers, means, viewed)
    return StageMember(expression, stage, slots, {kind: tuple(found) for kind, found in views.items()}, tuple(places))


def _slot(item: Input, numbers: Mapping[str, int], means: Mapping[str, int], viewed: Callable[[Kind, int, int], Slot]) -> Slot:
    if item.constant is not None:
        return "constant", item.constant
    if item.span is Span.ELEMENT:
        plain: Kind = "x" if item.source == "x" else "cotangent"
        return viewed("x_view" if plain == "x" else "cotangent_view", 0, item.shift) if item.shift else (plain, 0)
    if item.source in means:
        kind = MEANS[item.span]
        return viewed(kind, means[item.source], item.shift) if item.span is Span.CHANNEL else (kind, means[item.source])
    number = numbers[item.source]
    return viewed("channel", number, item.shift) if item.span is Span.CHANNEL else ("scalar", number)


def _stage(name: str, members: Sequence[StageMember], totals: Mapping[Kind, int], first_mean: Mapping[Span, int] | None) -> GroupStage:
    used = [(kind, slot) for m in members for kind, slot in m.slots.values()]
    counts: dict[Kind, int] = {kind: max((slot + 1 for k, slot in used if k == kind), default=0) for kind in SPANS}
    counts["x"] = 1  # always read: it has the shape that results have
    outputs = {span: max((number + 1 for m in members for s, number in m.places if s is span), default=0) for span in Span}
    return GroupStage(name, tuple(members), counts, {**totals, "constant": counts["constant"]}, outputs, first_mean)

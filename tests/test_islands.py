"""Islands: lineages that meet by migration alone, populations whose survivors are the right ones, archives of the best of a kind."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from fake_search import Recorder, candidate, search
from hypothesis import given
from hypothesis import strategies as st

from gp.evolution.behaviour import Behaviour, Parity
from gp.evolution.candidate import Candidate
from gp.evolution.config import Config
from gp.evolution.island import Island, distinct, is_competitive, objectives
from gp.evolution.pareto import fronts

CONFIG = Config(population=8, islands=1)
KINDS: tuple[Parity, ...] = ("odd", "even", "neither")


def island(size: int, config: Config = CONFIG) -> Island:
    return Island(0, size, config, np.random.default_rng(0))


def made(
    number: int, *differences: float, structure: int = -1, cost: int = 10, size: int = 5, kind: int = 0, reason: str | None = None
) -> Candidate:
    """A candidate with what matters to an island; its structure is its own unless it is said."""
    behaviour = Behaviour(KINDS[kind], "linear", "linear", "smooth", "none")
    return dataclasses.replace(
        candidate("tanh(x)", number), structure=number if structure < 0 else structure, cost=cost, size=size, behaviour=behaviour,
        differences=differences, reason=reason,
    )  # fmt: skip


ANY = st.builds(
    made,
    st.integers(0, 10**6),
    st.floats(-1, 1),
    st.floats(-1, 1),
    structure=st.integers(0, 8),
    cost=st.integers(1, 40),
    size=st.integers(1, 12),
    kind=st.integers(0, 2),
)
MANY = st.lists(ANY, min_size=1, max_size=40, unique_by=lambda c: c.number)


# Lineages


def homes_of_ancestors(heard: Recorder) -> list[tuple[int, set[int]]]:
    """The island of each candidate that was bred, and those of all its ancestors."""
    found: dict[int, set[int]] = {}
    pairs = []
    for c in sorted((*heard.refused, *heard.judgements), key=lambda c: c.number):
        above = set().union(*(found[p] for p in c.parents))
        found[c.number] = above | {c.island}
        if c.parents and c.origin not in ("tuning", "snapping"):
            pairs.append((c.island, above))
    return pairs


def test_without_migration_no_ancestor_is_from_another_island() -> None:
    config = Config(seed=3, population=24, islands=3, generations=7, migration=0, finalists=1, hall=1, tuned=0)
    alone = homes_of_ancestors(search(config)[1])
    assert {home for home, _ in alone} == {0, 1, 2}
    assert all(ancestors == {home} for home, ancestors in alone)
    migrating = homes_of_ancestors(search(dataclasses.replace(config, migration=2))[1])  # negative control
    assert sum(ancestors != {home} for home, ancestors in migrating) > 5


def test_until_the_first_migration_nothing_is_different() -> None:
    config = Config(seed=3, population=24, islands=3, generations=5, migration=0, finalists=1, hall=1, tuned=0)
    alone, migrating = search(config)[1], search(dataclasses.replace(config, migration=3))[1]
    assert alone.newcomers[:3] == migrating.newcomers[:3]
    assert alone.newcomers[3:] != migrating.newcomers[3:]


def test_migrants_arrive_and_their_home_keeps_them() -> None:
    engine, heard, _, _ = search(Config(population=24, islands=3, generations=4, migration=4, migrants=2, finalists=1, hall=1, tuned=0))
    home = {c.number: c.island for c in heard.judgements}
    for k, here in enumerate(engine.islands):
        there = engine.islands[(k + 1) % 3]
        best = distinct((c for c in here.population if home[c.number] == k), 2)
        arrived = [c for c in there.population if home[c.number] == k]
        assert {c.number for c in best} <= {c.number for c in arrived} | {c.number for c in here.population}
        assert arrived
        assert {home[c.number] for c in there.population} <= {k, there.number}
        assert all(c.island == there.number for c in (*there.population, *there.archive.elites()))
        assert {c.number for c in arrived} <= {c.number for c in here.population}


def test_one_island_sends_nobody_anywhere() -> None:
    _, heard, _, _ = search(Config(population=12, islands=1, generations=3, migration=1, finalists=1, hall=1, tuned=0))
    assert {c.island for c in heard.judgements} == {0}


def test_islands_share_the_population_and_draw_differently() -> None:
    engine, heard, _, _ = search(Config(population=22, islands=4, generations=1, finalists=1, hall=1, tuned=0))
    assert [i.size for i in engine.islands] == [6, 6, 5, 5]
    assert [sum(c.island == k for c in heard.newcomers[0]) for k in range(4)] == [6, 6, 5, 5]
    assert len({json.dumps(i.rng.bit_generator.state) for i in engine.islands}) == 4


# Survivors


@given(MANY, st.integers(1, 12), st.sampled_from([0.0, 0.25, 0.9]))
def test_survivors_are_the_best_distinct_ones_and_then_others_up_to_the_size(pool: list[Candidate], size: int, share: float) -> None:
    home = island(size, dataclasses.replace(CONFIG, elite_share=share))
    for start in range(0, len(pool), 10):
        home.take(pool[start : start + 10])
        assert len(home.population) == min(size, start + len(pool[start : start + 10]))
    numbers = [c.number for c in home.population]
    assert len(set(numbers)) == len(numbers)
    assert [c.rank for c in home.population] == sorted(c.rank for c in home.population)
    best = distinct(pool, max(1, round(share * size)))  # what is best of its structure stays so, generation after generation
    assert {c.number for c in best} <= set(numbers)
    assert len({c.structure for c in best}) == len(best)
    assert home.population[0].rank == min(c.rank for c in pool)


@given(MANY, st.integers(2, 12))
def test_whom_another_dominates_does_not_survive_in_its_place(pool: list[Candidate], size: int) -> None:
    """But for the elites; and cost and size do not help those that are much worse than gelu."""
    home = island(size)
    home.take(pool)
    elites = {c.number for c in distinct(pool, max(1, round(0.25 * size)))}
    kept = {c.number for c in home.population}
    others = [c for c in pool if c.number not in elites]
    competing = [c for c in others if is_competitive(c)]
    levels = fronts(objectives(competing))
    inside = [level for level, c in zip(levels, competing, strict=True) if c.number in kept]
    outside = [level for level, c in zip(levels, competing, strict=True) if c.number not in kept]
    assert not inside or not outside or max(inside) <= min(outside)
    behind = [c for c in others if not is_competitive(c)]
    if outside:
        assert not any(c.number in kept for c in behind)
    kept_behind = sorted(c.rank for c in behind if c.number in kept)
    assert kept_behind == sorted(c.rank for c in behind)[: len(kept_behind)]


def test_a_cheap_function_survives_if_it_is_about_as_good_as_gelu_and_not_if_it_is_worse() -> None:
    good = [made(k, -0.5 - 0.01 * k, -0.5 - 0.01 * k, cost=20 + k) for k in range(8)]
    cheap = made(50, 0.0, 0.04, cost=1, size=1)
    cheap_and_bad = made(51, 0.0, 0.06, cost=1, size=1)
    home = island(8)
    home.take([*good, cheap, cheap_and_bad])
    assert cheap in home.population
    assert cheap_and_bad not in home.population
    roomy = island(20)
    roomy.take([*good, cheap, cheap_and_bad])
    assert cheap_and_bad in roomy.population  # where there is room, it fills up


def test_objectives_compare_candidates_of_different_stages() -> None:
    found = objectives([made(0, -0.9), made(1, -0.9, -0.1), made(2, -0.9, -0.2), made(3, -0.2), made(4, -0.9)])
    assert [first for first, _, _ in found] == [2, 1, 0, 3, 2]


def test_only_who_came_as_far_as_the_second_stage_breeds_unless_there_is_hardly_any() -> None:
    home = island(8)
    early, failed = [made(k, -0.5) for k in range(4)], made(9, -0.9, -0.9, reason="did not fit")
    home.take([*early, failed])
    assert {c.number for c in home.population} == {0, 1, 2, 3}
    assert len(home.archive) == 0
    crowded = island(8)
    crowded.take([*early, failed, *(made(k, 0.1, 0.1) for k in range(10, 14))])
    assert {c.number for c in crowded.population} == {10, 11, 12, 13}
    assert len(crowded.archive) == 1
    single = island(8, Config(population=8, islands=1, stages=1))
    single.take(early)
    assert len(single.archive) == 1


# Archives


@pytest.mark.parametrize("migration", [0, 2])
def test_each_elite_is_the_best_of_its_cell_among_all_that_were_offered(migration: int) -> None:
    config = Config(seed=4, population=24, islands=3, generations=6, migration=migration, finalists=1, hall=1, tuned=0)
    engine, heard, _, _ = search(config)
    for home in engine.islands:
        fit = [c for c in heard.judgements if c.island == home.number and c.reason is None and len(c.differences) >= 2]
        best: dict[Behaviour, Candidate] = {}
        for c in fit:
            assert c.behaviour is not None
            if c.behaviour not in best or c.rank < best[c.behaviour].rank:
                best[c.behaviour] = c
        cells = home.archive.cells()
        assert len(best) > 3
        if migration:
            assert all(cells[cell].rank <= c.rank for cell, c in best.items())
            arrived = {c.number for c in cells.values()} - {c.number for c in best.values()}
            assert all(next(c for c in heard.judgements if c.number == number).island != home.number for number in arrived)
        else:
            assert dict(cells) == best


def test_parents_come_from_the_archive_or_win_a_tournament() -> None:
    members = [made(k, 0.01 * k, 0.01 * k, kind=k % 3) for k in range(8)]

    def drawn(**settings: float) -> set[int]:
        home = island(8, Config(population=8, islands=1, **settings))  # type: ignore[arg-type]
        home.take(members)
        return {home.parent().number for _ in range(300)}

    assert drawn(archive_share=1.0) == {0, 1, 2}
    assert drawn(archive_share=0.0, tournament=1) == set(range(8))
    assert drawn(archive_share=0.0, tournament=1000) == {0}
    home = island(8, Config(population=8, islands=1, archive_share=0.0, tournament=4))
    home.take(members)
    counts = np.bincount([home.parent().number for _ in range(4000)], minlength=8) / 4000
    expected = [((8 - k) / 8) ** 4 - ((7 - k) / 8) ** 4 for k in range(8)]
    assert counts == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 4000))


@given(MANY)
def test_a_state_brings_everything_back(pool: list[Candidate]) -> None:
    home, other = island(6), island(6)
    home.take(pool)
    home.parent()
    other.restore(json.loads(json.dumps(home.to_json())), {c.number: c for c in pool})
    assert other.population == home.population
    assert dict(other.archive.cells()) == dict(home.archive.cells())
    assert [other.parent() for _ in range(10)] == [home.parent() for _ in range(10)]

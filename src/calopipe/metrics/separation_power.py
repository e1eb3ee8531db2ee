"""Separation power of histograms (CaloChallenge, arXiv:2410.21611 section 4.1; arXiv:2009.03796, eq. 15).

S = 1/2 sum_i (h1_i - h2_i)^2 / (h1_i + h2_i + 1e-16) of histograms normalised to one inside their range:
0 for equal histograms, 1 for disjoint ones; 1 too where one of the two is empty: what has left the range entirely is as far
away as can be. Entries outside the range do not enter, so their shares are told beside every value, with the entries that
a shower has inside on average. Two samples of n and m showers of one distribution give not 0 but, with
B filled bins, about (B - 1)/4 (1/n + 1/m), which is reported as the floor.

The voxel spectrum has many entries of each shower, which belong together: its error is of showers that are drawn anew,
and its floor that of random halves of the reference, scaled with 1/n + 1/m.
"""

from __future__ import annotations

import numpy as np

from calopipe.config.parts import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import BinnedCounts, Sample
from calopipe.metrics.defaults import SIX
from calopipe.metrics.settings import SeparationPowerConfig
from calopipe.records.scores import Score

#: blocks of showers that are drawn anew together
BLOCKS = 100
#: halvings of the reference whose mean is the floor
HALVINGS = 20
#: entries of a histogram from which on none of another is no chance
FEW = 10


def separation_power(h1: np.ndarray, h2: np.ndarray) -> float:
    """Separation power of two histograms with the same bins.

    Args:
        h1, h2: (B,) counts or any multiple of them, not negative.

    Raises:
        MetricUnavailable: both histograms are empty, or they have different numbers of bins.
    """
    h1, h2 = np.asarray(h1, dtype=np.float64), np.asarray(h2, dtype=np.float64)
    if h1.shape != h2.shape or h1.ndim != 1:
        raise MetricUnavailable(f"histograms of shapes {h1.shape} and {h2.shape} cannot be compared")
    if not (h1.sum() > 0 or h2.sum() > 0):
        raise MetricUnavailable("both histograms have no entries inside their range")
    return float(separations(h1, h2))


def separations(h1: np.ndarray, h2: np.ndarray) -> np.ndarray:
    """Separation powers along the last axis of counts; 1 where one of the two is all zero along it, NaN where both are."""
    sums = [np.asarray(h, dtype=np.float64).sum(axis=-1, keepdims=True) for h in (h1, h2)]
    p, q = (h / np.where(s > 0, s, 1) for h, s in zip((h1, h2), sums, strict=True))
    values = 0.5 * ((p - q) ** 2 / (p + q + 1e-16)).sum(axis=-1)
    filled = sum((s[..., 0] > 0).astype(int) for s in sums)
    return np.where(filled == 2, values, np.where(filled == 1, 1.0, np.nan))


def separation_error(h1: np.ndarray, h2: np.ndarray, rng: np.random.Generator, n: int = 200) -> float | None:
    """Standard deviation of the separation power when all counts fluctuate (Poisson), from n resamplings; None where both have so few entries
    that nothing can be said of it: two of one and none of the other are no rarer than they look.
    """
    if too_few(h1, h2):
        return None
    a, b = (rng.poisson(h, size=(n, len(h))).astype(np.float64) for h in (h1, h2))
    values = separations(a, b)
    values = values[np.isfinite(values)]
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def too_few(h1: np.ndarray, h2: np.ndarray) -> bool:
    """Whether histograms (B,) have less than ten entries each: none of the one for nine of the other happens by chance."""
    return bool(max(np.sum(h1), np.sum(h2)) < FEW)


def separation_floor(
    h1: np.ndarray, h2: np.ndarray, rng: np.random.Generator, sizes: tuple[int, int], n: int = 200
) -> float | None:
    """Expected separation power of two samples of one distribution with these numbers of entries; None where there are none.

    With fewer entries than filled bins, where the formula may give more than 1, the entries of both are dealt n times to two samples, in
    proportion to their ``sizes``.
    """
    sums, filled = (float(np.sum(h1)), float(np.sum(h2))), int(((h1 > 0) | (h2 > 0)).sum())
    if not filled:
        return None
    if min(sums) < filled:
        both = np.asarray(h1 + h2).astype(np.int64)
        first = rng.binomial(both, sizes[0] / sum(sizes), size=(n, len(both)))
        return float(np.mean(separations(first, both - first)))
    return 0.25 * (filled - 1) * (1 / sums[0] + 1 / sums[1])


def deal(showers: np.ndarray, rng: np.random.Generator, blocks: int = BLOCKS) -> np.ndarray:
    """Counts (K, B) of random blocks of showers, of the counts (N, B) of each shower."""
    out = np.zeros((min(blocks, len(showers)), showers.shape[1]), dtype=np.int64)
    np.add.at(out, rng.permutation(len(showers)) % len(out), showers)
    return out


def halves_of(blocks: int, rng: np.random.Generator, n: int = HALVINGS) -> np.ndarray:
    """(n, K) 1 for the blocks of a random half, 0 for the others."""
    chosen = np.zeros((n, blocks), dtype=np.int64)
    chosen[:, : blocks // 2] = 1
    return rng.permuted(chosen, axis=1)


def floor_of_halves(blocks: np.ndarray, halves: np.ndarray, n: int, m: int) -> float | None:
    """Expected separation power of two samples of n and m showers like those in the blocks (K, B) of a reference of n."""
    known = separations(halves @ blocks, (1 - halves) @ blocks)
    known = known[np.isfinite(known)]
    return float(known.mean()) * (1 / n + 1 / m) / (4 / n) if len(known) else None


def spread(draws: np.ndarray) -> float | None:
    """Standard deviation of separation powers, without those that are not known."""
    known = draws[np.isfinite(draws)]
    return float(known.std(ddof=1)) if len(known) > 1 else None


def separation_of_values(values1: np.ndarray, values2: np.ndarray, edges: np.ndarray) -> float:
    """Separation power of two samples of values (N,) and (M,) filled into bins with these edges (B + 1,)."""
    return separation_power(np.histogram(values1, edges)[0], np.histogram(values2, edges)[0])


@METRICS.register("separation_power", config=SeparationPowerConfig)
def separation_powers(
    reference: Sample, generated: Sample, rng: np.random.Generator, config: SeparationPowerConfig
) -> list[Score]:
    """Separation power of each histogram, ``mean_layers/<observable>``: the mean over layers that tables quote, and ``average``: the
    mean of :data:`SIX` observables that CaloMan quotes, where all of them are among the histograms.

    Raises:
        MetricUnavailable: there is no histogram of an observable that the configuration names.
    """
    found = reference.histograms
    families = {name.split("/")[0] for name in found}
    missing = sorted(set(config.observables or []) - families)
    if missing:
        raise MetricUnavailable(f"no histograms of {', '.join(missing)}; there are {', '.join(sorted(families))}")
    wanted = set(config.observables or families)
    names = [name for name in found if name.split("/")[0] in wanted and name in generated.histograms]
    each = [_measure(name, (reference, generated), rng, config.bootstrap) for name in names]
    found_all = each + _means(each)
    six = of_six("separation_power", found_all)
    errors = [m.error or 0.0 for m in six]
    return found_all + average_of(
        "separation_power/average", six, float(np.sqrt(np.sum(np.square(errors)))) / max(len(six), 1)
    )


def _measure(name: str, samples: tuple[Sample, Sample], rng: np.random.Generator, bootstrap: int) -> Score:
    """The score of one histogram of reference and generated showers."""
    reference, generated = samples
    n, full = min(reference.n, generated.n), f"separation_power/{name}"
    h1, h2 = reference.histograms[name], generated.histograms[name]
    extra = entries(h1, h2, reference.n, generated.n)
    try:
        value = separation_power(h1.counts, h2.counts)
    except MetricUnavailable as problem:
        return Score.absent(full, n, problem, extra=extra)
    if name == "voxels":
        error, floor = _of_showers(reference, generated, rng, bootstrap)
    else:
        error = separation_error(h1.counts, h2.counts, rng, bootstrap)
        floor = separation_floor(h1.counts, h2.counts, rng, (reference.n, generated.n))
    return Score(full, value, error, n, floor=floor, extra=extra)


def _of_showers(
    reference: Sample, generated: Sample, rng: np.random.Generator, bootstrap: int
) -> tuple[float | None, float | None]:
    """Error and floor of the voxel spectrum; entries outside the range stay outside."""
    a, b = (deal(sample.voxel_counts[:, :-1], rng) for sample in (reference, generated))
    draws = separations(*(rng.poisson(1.0, (bootstrap, len(x))) @ x for x in (a, b)))
    return spread(draws), floor_of_halves(a, halves_of(len(a), rng), reference.n, generated.n)


def entries(h1: BinnedCounts, h2: BinnedCounts, n: int, m: int) -> dict[str, float]:
    """What a separation power does not see: shares of the entries outside, and entries inside per shower, of both samples."""
    found = {}
    for name, h, size in (("reference", h1, n), ("generated", h2, m)):
        inside = int(h.counts.sum())
        found[f"outside_{name}"] = 1 - inside / h.total if h.total else 0.0
        found[f"inside_per_shower_{name}"] = inside / size
    return {k: float(v) for k, v in found.items()}


def _means(each: list[Score]) -> list[Score]:
    """Mean over layers (and ranks) of each observable that has several histograms; layers taken as independent."""
    families: dict[str, list[Score]] = {}
    for m in each:
        families.setdefault(m.name.split("/")[1], []).append(m)
    out = []
    for family, members in families.items():
        if len(members) < 2:
            continue
        name, known = f"separation_power/mean_layers/{family}", [m for m in members if m.value is not None]
        error = float(np.sqrt(np.sum([(m.error or 0) ** 2 for m in known])) / max(len(known), 1))
        out.append(mean_of_layers(name, members, error, empty_means_equal=True))
    return out


def of_six(metric: str, scores: list[Score]) -> list[Score]:
    """The scores of :data:`SIX` observables, of those with layers the means over them; none where one was not measured."""
    found = []
    for observable in SIX:
        mean = [m for m in scores if m.name == f"{metric}/mean_layers/{observable}"]
        alone = [m for m in scores if f"{m.name}/".startswith(f"{metric}/{observable}/")]
        found += mean or alone[:1]
    return found if len(found) == len(SIX) else []


def average_of(name: str, members: list[Score], error: float | None) -> list[Score]:
    """The mean of scores of observables (Reyes-González 2023), undefined where one of them is; no score of no members."""
    if not members:
        return []
    unknown = next((m for m in members if m.value is None), None)
    if unknown is not None:
        return [Score.absent(name, members[0].n, f"{unknown.name.split('/', 1)[1]}: {unknown.missing}")]
    floors = [m.floor for m in members if m.floor is not None]
    floor = float(np.mean(floors)) if len(floors) == len(members) else None
    value = float(np.mean([m.value for m in members]))
    return [Score(name, value, error, members[0].n, floor=floor, extra=_entries_of(members))]


def _entries_of(members: list[Score]) -> dict[str, float]:
    """What a mean of scores does not see: mean of the shares outside, sum of the entries inside (:func:`entries`)."""
    found = {}
    for key in sorted({k for m in members for k in m.extra if k.startswith(("outside_", "inside_"))}):
        values = [m.extra.get(key, 0.0) for m in members]
        found[key] = float(np.mean(values) if key.startswith("outside") else np.sum(values))
    return found


def mean_of_layers(name: str, members: list[Score], error: float | None, empty_means_equal: bool) -> Score:
    """The mean of the scores of layers, without any that would be left out to its advantage.

    Args:
        name: of the mean.
        members: of the layers, with :func:`entries` in ``extra``.
        error: of the mean.
        empty_means_equal: whether histograms that are empty in both samples are those of a layer without energy in both;
            such layers do not count. Otherwise nothing is known of such a layer, nor then of the mean.
    """
    known = [m for m in members if m.value is not None]
    n, unknown = members[0].n, len(members) - len(known)
    if not known:
        return Score.absent(name, n, "no layer has entries inside the range")
    if unknown and not empty_means_equal:
        first = next(m for m in members if m.value is None).name.rsplit("/", 1)[-1]
        reason = (
            f"{unknown} of {len(members)} layers have no entries inside the range in either sample (first: {first})"
        )
        return Score.absent(name, n, reason)
    floors = [m.floor for m in known if m.floor is not None]
    floor = float(np.mean(floors)) if len(floors) == len(known) else None
    extra = {"histograms": len(known), "without_entries": unknown, **_entries_of(members)}
    return Score(name, float(np.mean([m.value for m in known])), error, n, floor=floor, extra=extra)

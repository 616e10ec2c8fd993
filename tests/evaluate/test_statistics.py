import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tau0.evaluate.statistics import (
    auroc,
    clopper_pearson_bound,
    effective_number,
    mcnemar_exact,
    paired_difference,
    spearman,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(15, 20, 0.531299, 0.888138), (0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0), (81, 263, 0.255289, 0.366210)],
)
def test_wilson_gives_published_values(successes: int, trials: int, low: float, high: float) -> None:
    interval = wilson_interval(successes, trials)
    assert interval.estimate == successes / trials
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=2e-6)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_wilson_ends_are_where_the_score_test_just_rejects(counts: tuple[int, int], confidence: float) -> None:
    successes, trials = counts
    interval = wilson_interval(successes, trials, confidence)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    for end in (interval.low, interval.high):
        assert abs(interval.estimate - end) == pytest.approx(z * math.sqrt(end * (1 - end) / trials), abs=1e-7)


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f"got {successes} of {trials}"):
        wilson_interval(successes, trials)


@given(st.floats(0.5, 5000), st.floats(0, 1), st.floats(0.5, 0.999))
def test_clopper_pearson_is_a_quantile_of_beta(trials: float, rate: float, confidence: float) -> None:
    successes = rate * trials
    expected = 1.0 if successes == trials else stats.beta.ppf(confidence, successes + 1, trials - successes)
    assert clopper_pearson_bound(successes, trials, confidence) == pytest.approx(expected, abs=1e-9)


def test_clopper_pearson_of_nothing_seen_is_a_power_and_refuses_impossible_counts() -> None:
    assert clopper_pearson_bound(0, 59) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert clopper_pearson_bound(7, 7) == 1.0
    for successes, trials in ((1, 0), (-1, 5), (6, 5)):
        with pytest.raises(ValueError, match=f"got {successes} of {trials}"):
            clopper_pearson_bound(successes, trials)


def test_the_effective_number_of_equal_weights_is_their_number() -> None:
    assert effective_number([0.5] * 7) == pytest.approx(7)
    assert effective_number([1, 1, 0, 0]) == 2
    assert effective_number([3, 1]) == pytest.approx(16 / 10)
    assert effective_number([]) == effective_number([0, 0]) == 0


@pytest.mark.parametrize(
    ("first_only", "second_only", "p_value"), [(0, 0, 1.0), (5, 15, 0.04138947), (6, 6, 1.0), (0, 5, 0.0625), (12, 2, 0.01293945)]
)
def test_mcnemar_gives_known_values(first_only: int, second_only: int, p_value: float) -> None:
    assert mcnemar_exact(first_only, second_only) == pytest.approx(p_value, abs=1e-8)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_binomial_test_of_discordant_pairs(first_only: int, second_only: int) -> None:
    p_value = mcnemar_exact(first_only, second_only)
    assert p_value == mcnemar_exact(second_only, first_only)
    if first_only + second_only > 0:
        assert p_value == pytest.approx(stats.binomtest(first_only, first_only + second_only).pvalue, rel=1e-9)


def test_paired_difference_of_one_task_is_the_ordinary_bootstrap() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random(400) < 0.5, rng.random(400) < 0.6
    interval = paired_difference(first, second, ["reach"] * 400, np.random.default_rng(1))
    differences = second.astype(float) - first.astype(float)
    half = 1.96 * differences.std() / math.sqrt(len(differences))
    assert interval.estimate == pytest.approx(differences.mean())
    assert (interval.low, interval.high) == pytest.approx((interval.estimate - half, interval.estimate + half), abs=0.006)


def test_paired_difference_widens_where_tasks_disagree() -> None:
    first = np.zeros(80)
    second = np.repeat([1.0, 0.0, 1.0, 0.0], 20)
    tasks = [f"task-{i // 20}" for i in range(80)]
    clustered = paired_difference(first, second, tasks, np.random.default_rng(0))
    pooled = paired_difference(first, second, ["all"] * 80, np.random.default_rng(0))
    assert clustered.estimate == pooled.estimate == 0.5
    assert clustered.high - clustered.low > 2 * (pooled.high - pooled.low)


def test_paired_difference_depends_on_its_generator_alone_and_counts_unequal_tasks() -> None:
    first, second, tasks = [0, 1, 0, 0, 1], [1, 1, 1, 0, 0], ["a", "a", "a", "b", "b"]
    again = [paired_difference(first, second, tasks, np.random.default_rng(3), num_resamples=200) for _ in range(2)]
    assert again[0] == again[1]
    assert again[0].estimate == pytest.approx(0.2)


def test_paired_difference_refuses_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="2 tasks, 1 and 2 outcomes"):
        paired_difference([0], [1, 0], ["a", "b"], np.random.default_rng(0))


def test_auroc_gives_known_values() -> None:
    assert auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]) == 0.75
    assert auroc([1.0, 1.0, 1.0], [True, False, True]) == 0.5
    assert auroc([3.0, 2.0, 1.0], [1, 1, 0]) == 1.0


@given(
    st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40).filter(lambda s: len({label for _, label in s}) == 2)
)
def test_auroc_is_the_share_of_pairs_in_order(samples: list[tuple[int, bool]]) -> None:
    positives, negatives = [s for s, label in samples if label], [s for s, label in samples if not label]
    in_order = np.mean([(p > n) + 0.5 * (p == n) for p in positives for n in negatives])
    assert auroc([s for s, _ in samples], [label for _, label in samples]) == pytest.approx(float(in_order))


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [([1.0, 2.0], [1, 1], "both classes"), ([1.0], [1, 0], "one label per score"), ([1.0, math.nan], [1, 0], "finite")],
)
def test_auroc_refuses_what_has_no_answer(scores: list[float], labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        auroc(scores, labels)


def test_spearman_gives_a_known_value() -> None:
    assert spearman([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]) == pytest.approx(0.8207826816681233)


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=30))
def test_spearman_is_the_correlation_of_ranks(pairs: list[tuple[int, int]]) -> None:
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    if len(set(left)) == 1 or len(set(right)) == 1:
        with pytest.raises(ValueError, match="constant"):
            spearman(left, right)
    else:
        expected = np.corrcoef(stats.rankdata(left), stats.rankdata(right))[0, 1]
        assert spearman(left, right) == pytest.approx(expected, abs=1e-12)


def test_statistics_take_one_number_per_sample() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        spearman(np.eye(2), [1, 2])

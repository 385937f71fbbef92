import numpy as np
import pytest
from scipy import stats

from hilum.evaluation import MINIMUM_PATIENTS, Decision, FigureName, Ranking, assess
from hilum.evaluation.intervals import clopper_pearson, patient_weights, wilson
from hilum.evaluation.subjects import Measure


def names(count, each=1):
    return np.repeat([f"p{i}" for i in range(count)], each)


def test_all_radiographs_of_a_patient_are_drawn_together():
    patients = np.array(["a", "b", "a", "c", "b"])
    weights = np.concatenate(list(patient_weights(patients, np.random.default_rng(0), 50)))
    assert weights.shape == (50, 5)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    # As many patients are drawn as there are.
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)


def test_memory_is_bounded_by_chunks():
    sizes = [w.size for w in patient_weights(names(60_000), np.random.default_rng(0), 40)]
    assert len(sizes) > 1
    assert sum(sizes) == 40 * 60_000
    assert max(sizes) <= 1 << 20


def test_the_same_generator_state_gives_the_same_interval():
    truth = np.arange(60) % 2 == 0
    subject = {"d": Decision(truth, np.arange(60) % 3 == 0)}
    first, second = (assess(subject, names(60), np.random.default_rng(5), 200) for _ in range(2))
    assert first == second


def _clustered(rng, people, each, shared):
    """Decisions on pneumonia alone whose chance of success is shared within a patient."""
    chance = stats.beta.rvs(8 * shared, 2 * shared, size=people, random_state=rng)
    return rng.random((people, each)) < chance[:, None]


def test_patient_bootstrap_covers_the_truth_where_radiographs_are_clustered():
    rng = np.random.default_rng(0)
    people, each, simulations = 60, 4, 250
    patients = names(2 * people, each)
    truth = np.arange(2 * people * each) < people * each
    covered, naive_covered, widths, naive_widths = 0, 0, [], []
    for _ in range(simulations):
        called = np.r_[_clustered(rng, people, each, 0.15).ravel(), np.zeros(people * each, bool)]
        subject = {"d": Decision(truth, called)}
        clustered = assess(subject, patients, rng, 400)["d"][FigureName.SENSITIVITY].interval
        naive = assess(subject, names(len(truth)), rng, 400)["d"][FigureName.SENSITIVITY].interval
        covered += clustered.lower <= 0.8 <= clustered.upper
        naive_covered += naive.lower <= 0.8 <= naive.upper
        widths.append(clustered.upper - clustered.lower)
        naive_widths.append(naive.upper - naive.lower)
    assert 0.90 <= covered / simulations <= 0.99
    # Who takes radiographs for patients is sure of too much.
    assert np.mean(naive_widths) < 0.75 * np.mean(widths)
    assert naive_covered / simulations < 0.85


def test_the_interval_of_an_auc_agrees_with_delong_where_patients_have_one_radiograph():
    rng = np.random.default_rng(3)
    truth = np.arange(400) % 2 == 0
    scores = rng.normal(truth * 1.2, 1.0)
    figure = assess({"r": Ranking(scores, truth)}, names(400), rng, 2000)["r"][FigureName.AUC]
    wins = (scores[truth][:, None] > scores[~truth][None]).astype(float)
    variance = wins.mean(1).var(ddof=1) / 200 + wins.mean(0).var(ddof=1) / 200
    half = 1.96 * np.sqrt(variance)  # DeLong et al., Biometrics 1988
    assert figure.interval.upper - figure.interval.lower == pytest.approx(2 * half, rel=0.1)


def test_a_perfect_proportion_gets_the_exact_interval_over_patients():
    truth = np.arange(80) < 40  # 20 patients with two radiographs each have pneumonia
    figure = assess(
        {"d": Decision(truth, truth)}, names(40, 2), np.random.default_rng(0), 100
    )["d"][FigureName.SENSITIVITY]  # fmt: skip
    assert figure.value == 1.0
    assert (figure.radiographs, figure.patients) == (40, 20)
    assert figure.interval.method == "Clopper-Pearson over patients"
    assert figure.interval.lower == pytest.approx(0.025 ** (1 / 20))
    assert figure.interval.upper == 1.0


def test_a_figure_that_no_replicate_moves_claims_no_certainty():
    truth = np.arange(40) < 20
    figure = assess({"r": Ranking(truth * 1.0, truth)}, names(40), np.random.default_rng(0), 100)[
        "r"
    ][FigureName.AUC]
    assert figure.value == 1.0
    assert figure.interval is None
    assert "no width" in figure.no_interval


def test_too_few_patients_give_a_figure_without_an_interval():
    truth = np.arange(60) < 27  # nine patients with three radiographs each
    called = np.arange(60) % 2 == 0
    figures = assess({"d": Decision(truth, called)}, names(20, 3), np.random.default_rng(0), 100)[
        "d"
    ]
    assert figures[FigureName.SENSITIVITY].value is not None
    assert figures[FigureName.SENSITIVITY].no_interval == (
        f"only 9 patients with pneumonia; an interval needs {MINIMUM_PATIENTS}"
    )
    assert figures[FigureName.SPECIFICITY].interval is not None  # it rests on normals alone
    assert figures[FigureName.PPV].interval is None


def test_an_absent_class_leaves_figures_undefined_with_a_reason():
    truth = np.zeros(30, bool)
    figures = assess(
        {"d": Decision(truth, truth), "r": Ranking(np.linspace(0, 1, 30), truth)},
        names(30),
        np.random.default_rng(0),
        50,
    )
    assert figures["d"][FigureName.SENSITIVITY].value is None
    assert figures["d"][FigureName.SENSITIVITY].reason == "no radiograph has pneumonia"
    assert figures["d"][FigureName.PPV].reason == "no radiograph was called pneumonia"
    assert figures["r"][FigureName.AUC].value is None
    assert figures["d"][FigureName.SPECIFICITY].value == 1.0


class MeanUnlessFirstIsDrawn:
    """A figure that is undefined where the first patient is drawn often; classes of ten vanish once
    in 20,000 replicates, which is too rare to test."""

    def __init__(self, times):
        self.times = times

    @property
    def measures(self):
        return {FigureName.BRIER: Measure(np.ones(40, bool), {}, "never")}

    def values(self, weights):
        mean = weights @ np.arange(40.0) / 40
        return {FigureName.BRIER: np.where(weights[:, 0] < self.times, mean, np.nan)}


def test_undefined_replicates_are_dropped_and_counted():
    figure = assess({"m": MeanUnlessFirstIsDrawn(4)}, names(40), np.random.default_rng(0), 2000)[
        "m"
    ][FigureName.BRIER]
    assert 0 < figure.interval.dropped < 100
    assert figure.interval.replicates + figure.interval.dropped == 2000


def test_many_undefined_replicates_leave_no_interval():
    figure = assess({"m": MeanUnlessFirstIsDrawn(2)}, names(40), np.random.default_rng(0), 2000)[
        "m"
    ][FigureName.BRIER]
    assert figure.interval is None
    assert "of 2000 bootstrap replicates" in figure.no_interval


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (3, 10), (10, 10), (50, 51)])
def test_exact_and_wilson_intervals_equal_scipy(successes, trials):
    reference = stats.binomtest(successes, trials)
    exact, score = clopper_pearson(successes, trials), wilson(successes / trials, trials)
    assert (exact.lower, exact.upper) == pytest.approx(
        tuple(reference.proportion_ci(method="exact"))
    )
    assert (score.lower, score.upper) == pytest.approx(
        tuple(reference.proportion_ci(method="wilson")), abs=1e-9
    )


def test_no_event_gives_about_the_rule_of_three():
    # One-sided 3 / n becomes 3.7 / n at two-sided 95 %.
    assert clopper_pearson(0, 100).upper == pytest.approx(3.69 / 100, rel=0.03)

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hilum.errors import EvaluationError
from hilum.evaluation import AIM_FORMS, Aim, AimKind, choose_operating_point, counts_at, parse_aim

probabilities = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
rows = st.lists(st.tuples(probabilities, st.booleans()), min_size=2, max_size=40)
fractions = st.floats(0.01, 1)
valued = st.sampled_from([AimKind.SENSITIVITY, AimKind.SPECIFICITY, AimKind.PROBABILITY])


def columns(drawn):
    p, truth = (np.array(column) for column in zip(*drawn, strict=True))
    assume(truth.any() and not truth.all())
    return p, truth


def sensitivity(counts):
    return counts.true_positives / (counts.true_positives + counts.false_negatives)


def specificity(counts):
    return counts.true_negatives / (counts.true_negatives + counts.false_positives)


@given(kind=valued, value=st.floats(0, 1, exclude_min=True))
def test_aims_come_back_from_their_text(kind, value):
    aim = Aim(kind, value)
    assert parse_aim(str(aim)) == aim
    assert parse_aim(aim.words) == aim


@settings(deadline=None)
@given(ratio=st.floats(1e-6, 1e9))
def test_cost_aims_come_back_from_their_text(ratio):
    aim = Aim(AimKind.COST, ratio)
    assert parse_aim(str(aim)) == parse_aim(aim.words) == aim


def test_a_fixed_threshold_may_be_written_as_one():
    assert parse_aim("threshold=0.05") == parse_aim("probability>=0.05")
    assert parse_aim(" threshold = 0.05 ").name == "probability-0.05"


def test_aims_of_the_shipped_recipes_are_understood():
    assert [str(parse_aim(text)) for text in AIM_FORMS] == list(AIM_FORMS)
    assert parse_aim("sensitivity>=0.95").name == "sensitivity-0.95"
    assert parse_aim(" youden ") == Aim(AimKind.YOUDEN)
    assert str(parse_aim("sensitivity >= 1.0")) == "sensitivity>=1"


@pytest.mark.parametrize(
    "text",
    ["", "sensitivity", "sensitivity>0.9", "sensitivity>=95%", "recall>=0.9", "youden>=0.5",
     "sensitivity>=0.9 and specificity>=0.9", "sensitivity>=nan", "sensitivity>=-0.5",
     "cost=10", "cost>=-1", "cost>=ten", "threshold>=0.05", "threshold==0.05", "threshold=5%"],
)  # fmt: skip
def test_wrong_aims_name_the_allowed_forms(text):
    with pytest.raises(
        EvaluationError, match="no aim of an operating point; write one of"
    ) as error:
        parse_aim(text)
    assert all(form in str(error.value) for form in AIM_FORMS)


@pytest.mark.parametrize("text", ["sensitivity>=95", "specificity>=0", "probability>=1.01"])
def test_aims_outside_the_unit_interval_are_refused_as_fractions(text):
    with pytest.raises(EvaluationError, match="as a fraction"):
        parse_aim(text)


@pytest.mark.parametrize("text", ["cost>=0", "cost>=1e999"])
def test_a_cost_that_is_no_ratio_is_refused(text):
    with pytest.raises(EvaluationError, match="how many false alarms a missed pneumonia costs"):
        parse_aim(text)


@given(drawn=rows, target=fractions)
def test_chosen_point_reaches_its_sensitivity_and_no_higher_threshold_does(drawn, target):
    p, truth = columns(drawn)
    point = choose_operating_point(Aim(AimKind.SENSITIVITY, target), p, truth, "validation")
    assert sensitivity(point.counts) >= target - 1e-8
    for higher in p[p >= point.threshold]:
        above = counts_at(np.nextafter(higher, 2), p, truth)
        fewer = above.true_positives + above.false_positives
        if fewer < point.counts.true_positives + point.counts.false_positives:
            # A threshold that refers fewer either misses the aim or is no more specific.
            assert sensitivity(above) < target or specificity(above) == specificity(point.counts)


@given(drawn=rows, target=fractions)
def test_no_other_threshold_with_that_sensitivity_is_more_specific(drawn, target):
    p, truth = columns(drawn)
    point = choose_operating_point(Aim(AimKind.SENSITIVITY, target), p, truth, "validation")
    tried = [counts_at(t, p, truth) for t in np.r_[p, 0.0, 1.0]]
    best = max(specificity(c) for c in tried if sensitivity(c) >= target - 1e-9)
    assert specificity(point.counts) >= best


@given(drawn=rows, target=fractions)
def test_chosen_point_reaches_its_specificity_and_none_is_more_sensitive(drawn, target):
    p, truth = columns(drawn)
    assume(not (p[~truth] >= 1.0).any())
    point = choose_operating_point(Aim(AimKind.SPECIFICITY, target), p, truth, "validation")
    assert specificity(point.counts) >= target - 1e-8
    tried = [counts_at(t, p, truth) for t in np.r_[p, 0.0, 1.0]]
    best = max(sensitivity(c) for c in tried if specificity(c) >= target - 1e-9)
    assert sensitivity(point.counts) >= best


@given(drawn=rows)
def test_youden_is_the_largest_sum_over_all_thresholds(drawn):
    p, truth = columns(drawn)
    counts = choose_operating_point(Aim(AimKind.YOUDEN), p, truth, "validation").counts
    tried = [counts_at(t, p, truth) for t in np.r_[p, 0.0, 1.0]]
    best = max(sensitivity(c) + specificity(c) for c in tried)
    assert sensitivity(counts) + specificity(counts) >= best - 1e-12


def cost(counts, ratio):
    return ratio * counts.false_negatives + counts.false_positives


@settings(deadline=None)
@given(drawn=rows, ratio=st.sampled_from([0.1, 0.3, 1.0, 3.0, 10.0, 1e6]))
def test_no_other_threshold_costs_less_and_none_as_cheap_is_more_sensitive(drawn, ratio):
    p, truth = columns(drawn)
    counts = choose_operating_point(Aim(AimKind.COST, ratio), p, truth, "validation").counts
    tried = [counts_at(t, p, truth) for t in np.r_[p, 0.0, 1.0]]
    least = min(cost(c, ratio) for c in tried)
    assert cost(counts, ratio) == pytest.approx(least, rel=1e-12)
    equals = [c for c in tried if cost(c, ratio) == pytest.approx(least, rel=1e-12)]
    assert sensitivity(counts) == max(map(sensitivity, equals))


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0, 19.0])
def test_of_calibrated_probabilities_the_cheapest_threshold_is_the_one_of_theory(ratio):
    rng = np.random.default_rng(0)
    p = rng.random(200_000)
    truth = rng.random(200_000) < p
    point = choose_operating_point(Aim(AimKind.COST, ratio), p, truth, "validation")
    assert point.threshold == pytest.approx(1 / (1 + ratio), abs=0.02)
    fixed = choose_operating_point(
        Aim(AimKind.PROBABILITY, 1 / (1 + ratio)), p, truth, "validation"
    )
    assert cost(fixed.counts, ratio) == pytest.approx(cost(point.counts, ratio), rel=0.01)


def test_where_false_alarms_are_dear_nobody_is_referred_as_far_as_a_threshold_can():
    p, truth = np.array([0.2, 0.6, 0.7]), np.array([False, True, False])
    point = choose_operating_point(parse_aim("cost>=0.5"), p, truth, "validation")
    assert 0.7 < point.threshold < 1.0
    assert point.name == "cost-0.5"
    certain = choose_operating_point(parse_aim("cost>=0.5"), p / 0.7, truth, "validation")
    assert certain.counts.false_positives == 1  # no threshold lies above a probability of 1
    assert certain.counts.true_positives == 1  # the same alarm finds a pneumonia for one threshold


@given(drawn=rows, aim=st.sampled_from(AIM_FORMS))
def test_counts_of_a_point_are_those_of_its_threshold(drawn, aim):
    p, truth = columns(drawn)
    assume(not (p[~truth] >= 1.0).any())
    point = choose_operating_point(parse_aim(aim), p, truth, "validation")
    assert point.counts == counts_at(point.threshold, p, truth)
    assert sum(point.counts.model_dump().values()) == len(p)


def test_threshold_lies_in_the_middle_of_its_gap_so_that_rounding_flips_nobody():
    p, truth = np.array([0.1, 0.3, 0.7, 0.9]), np.array([False, False, True, True])
    point = choose_operating_point(parse_aim("sensitivity>=0.95"), p, truth, "validation")
    assert point.threshold == pytest.approx(0.5)
    moved = p + np.array([1, 1, -1, -1]) * 0.01  # more than bfloat16 moves a probability
    assert counts_at(point.threshold, moved, truth) == point.counts


def test_a_fixed_threshold_is_taken_as_it_is():
    p, truth = np.array([0.04, 0.05, 0.9]), np.array([False, True, True])
    point = choose_operating_point(parse_aim("probability>=0.05"), p, truth, "validation")
    assert point.threshold == 0.05
    assert (point.name, point.aim) == ("probability-0.05", "probability >= 0.05")
    assert point.counts.true_positives == 2


@pytest.mark.parametrize(("truth", "absent"), [(True, "normal"), (False, "pneumonia")])
def test_a_part_with_one_class_is_refused(truth, absent):
    with pytest.raises(EvaluationError, match=f"no {absent} radiograph is in the validation part"):
        choose_operating_point(
            parse_aim("youden"), np.array([0.2, 0.7]), np.array([truth] * 2), "validation"
        )


def test_a_specificity_that_ties_at_one_forbid_is_refused():
    p, truth = np.array([1.0, 1.0, 1.0]), np.array([False, False, True])
    with pytest.raises(EvaluationError, match="2 of its 2 normal radiographs have probability 1"):
        choose_operating_point(parse_aim("specificity>=0.9"), p, truth, "validation")


def test_neighbouring_floats_leave_the_aim_reached():
    lower = 0.5
    upper = np.nextafter(lower, 1)
    p, truth = np.array([lower, upper]), np.array([False, True])
    point = choose_operating_point(parse_aim("youden"), p, truth, "validation")
    assert (point.counts.true_positives, point.counts.true_negatives) == (1, 1)

import json

import numpy as np
import pytest
from pydantic import ValidationError

from hilum.errors import EvaluationError
from hilum.evaluation import (
    AIM_FORMS,
    Evidence,
    FigureName,
    build_evidence,
    choose_operating_point,
    parse_aim,
)
from hilum.findings import RESEARCH_USE, Task

REPLICATES = 100


def points(validation):
    return [
        choose_operating_point(
            parse_aim(aim), validation.pneumonia, validation.is_pneumonia, "validation"
        )
        for aim in AIM_FORMS
    ]


def build(predictions, chosen, context, **changes):
    given = {"seed": 0, "replicates": REPLICATES, "other_points": chosen, **changes}
    return build_evidence(predictions, chosen[0], context=context, **given)


@pytest.mark.parametrize("task", list(Task))
def test_evidence_comes_back_from_its_json(task, simulate, context):
    evidence = build(simulate(task=task, seed=1), points(simulate(task=task)), context)
    text = evidence.model_dump_json()
    assert Evidence.model_validate_json(text) == evidence
    assert json.loads(text)["research_use"] == RESEARCH_USE


def test_the_same_seed_gives_the_same_evidence_and_another_does_not(simulate, context):
    predictions, chosen = simulate(), points(simulate(seed=3))
    first = build(predictions, chosen, context)
    assert build(predictions, chosen, context) == first
    assert build(predictions, chosen, context, seed=1) != first


def test_sensitivity_follows_from_the_counts_at_every_operating_point(simulate, context):
    evidence = build(simulate(seed=1), points(simulate()), context)
    assert len(evidence.other_operating_points) == len(AIM_FORMS) - 1  # the stated one not twice
    for measured in (evidence.operating_point, *evidence.other_operating_points):
        counts = measured.counts
        figure = measured.figures[FigureName.SENSITIVITY]
        ill = counts.true_positives + counts.false_negatives
        assert figure.value == pytest.approx(counts.true_positives / ill)
        assert figure.radiographs == ill
        assert sum(counts.model_dump().values()) == evidence.radiographs


def test_every_figure_states_its_sample_and_an_interval_or_the_reason(simulate, context):
    evidence = build(simulate(task=Task.THREE_CLASS), points(simulate(seed=5)), context)
    groups = [evidence.operating_point.figures, evidence.figures, evidence.overall]
    groups += [each.figures for each in evidence.per_class]
    figures = [figure for group in groups for figure in group.values()]
    assert len(figures) == 7 + 10 + 3 + 3 * 9
    for figure in figures:
        assert figure.patients <= figure.radiographs
        assert (figure.interval is None) == (figure.no_interval is not None)
        if figure.interval and figure.interval.method == "patient bootstrap":
            assert figure.interval.replicates + figure.interval.dropped == REPLICATES


def test_the_binary_confusion_matrix_is_that_of_the_operating_point(simulate, context):
    evidence = build(simulate(), points(simulate(seed=2)), context)
    (tn, fp), (fn, tp) = evidence.confusion.counts
    counts = evidence.operating_point.counts
    assert (tp, fp, tn, fn) == tuple(counts.model_dump().values())
    assert evidence.per_class == ()
    assert evidence.overall == {}


def test_three_classes_are_called_by_the_most_probable_finding(simulate, context):
    predictions = simulate(task=Task.THREE_CLASS)
    evidence = build(predictions, points(predictions), context)
    matrix = np.array(evidence.confusion.counts)
    assert matrix.sum() == len(predictions)
    right = (predictions.probabilities.argmax(axis=1) == predictions.truth).mean()
    assert np.trace(matrix) / matrix.sum() == pytest.approx(right)
    assert evidence.overall[FigureName.ACCURACY].value == pytest.approx(right)
    assert [each.finding for each in evidence.per_class] == list(Task.THREE_CLASS.labels)


def test_curves_are_thinned_but_keep_both_ends(simulate, context):
    curves = build(simulate(4000, signal=0.4), points(simulate()), context).curves
    assert len(curves.roc) <= 201
    assert (curves.roc[0].false_positive_rate, curves.roc[0].sensitivity) == (0.0, 0.0)
    assert (curves.roc[-1].false_positive_rate, curves.roc[-1].sensitivity) == (1.0, 1.0)
    assert curves.roc[0].threshold is None  # infinite in scikit-learn, which JSON cannot say
    assert len(curves.band.lower) == len(curves.band.false_positive_rate)
    assert all(low <= high for low, high in zip(curves.band.lower, curves.band.upper, strict=True))


@pytest.mark.parametrize("truth", [0, 1])
def test_a_part_with_one_class_gives_null_with_reasons(truth, binary, simulate, context):
    predictions = binary([0.1, 0.9, 0.4] * 5, [truth] * 15)
    evidence = build(predictions, points(simulate()), context)
    content = json.loads(evidence.model_dump_json())
    assert content["figures"]["auc"]["value"] is None
    assert content["figures"]["auc"]["reason"]
    assert content["curves"]["roc"] == []
    assert Evidence.model_validate_json(evidence.model_dump_json()) == evidence


def test_one_radiograph_is_enough_for_evidence_without_intervals(binary, simulate, context):
    evidence = build(binary([0.99], [1]), points(simulate()), context)
    figure = evidence.operating_point.figures[FigureName.SENSITIVITY]
    assert (figure.value, figure.interval) == (1.0, None)
    assert figure.no_interval == "only 1 patient with pneumonia; an interval needs 10"


def test_no_replicates_are_refused(simulate, context):
    with pytest.raises(EvaluationError, match="0 bootstrap replicates"):
        build(simulate(), points(simulate()), context, replicates=0)


def test_evidence_refuses_unknown_keys_and_numbers_that_json_lacks(simulate, context):
    content = build(simulate(), points(simulate()), context).model_dump()
    with pytest.raises(ValidationError, match="Extra inputs"):
        Evidence.model_validate({**content, "remark": "x"})
    with pytest.raises(ValidationError, match="finite number"):
        Evidence.model_validate({**content, "prevalence": float("nan")})

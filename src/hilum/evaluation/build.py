"""Building the evidence: everything that one part's predictions say of a classifier."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from hilum._version import __version__
from hilum.errors import EvaluationError
from hilum.evaluation.calibration import calibration_table
from hilum.evaluation.calibration_quality import calibration_quality
from hilum.evaluation.curves import curves
from hilum.evaluation.discrimination import Discrimination, delong_interval
from hilum.evaluation.evidence import (
    ClassFigures,
    ClassSize,
    ConfusionMatrix,
    Context,
    Evidence,
    Figures,
    PointFigures,
)
from hilum.evaluation.figures import FigureName, Interval
from hilum.evaluation.intervals import REPLICATES, assess
from hilum.evaluation.operating_points import counts_at
from hilum.evaluation.predictions import Predictions
from hilum.evaluation.prevalence import (
    PREVALENCES,
    AtPrevalence,
    PrevalenceFigures,
    calibration_error_at,
    decision_curve,
    exact_where_certain,
    probabilities_at,
)
from hilum.evaluation.subjects import (
    Agreement,
    Decision,
    MacroRanking,
    ProbabilityError,
    Ranking,
    Subject,
)
from hilum.evaluation.uncertainty import abstention_curve, measure_conformal_sets
from hilum.model.schema import OperatingPoint

__all__ = ["build_evidence"]


def build_evidence(
    predictions: Predictions,
    operating_point: OperatingPoint,
    *,
    context: Context,
    seed: int,
    other_points: Sequence[OperatingPoint] = (),
    prevalences: Sequence[float] = (),
    replicates: int = REPLICATES,
) -> Evidence:
    """Measure a classifier's predictions of one part.

    Args:
        predictions: Of the part, with truth and patients.
        operating_point: The one that the report speaks of.
        context: Where the predictions come from.
        seed: Of the bootstrap; the same seed and predictions give the same evidence.
        prevalences: In (0, 1), beside those that are always told.
        other_points: The classifier's further operating points; one of the same name is left out.
        replicates: How many bootstrap replicates.

    Returns:
        The evidence. Figures that a missing class leaves undefined are null with a reason.

    Raises:
        EvaluationError: If `replicates` is below 1.
    """
    if replicates < 1:
        raise EvaluationError(f"{replicates} bootstrap replicates cannot be drawn; ask for 2000")
    rng = np.random.default_rng(seed)
    findings = predictions.labels.findings
    truth, pneumonia = predictions.is_pneumonia, predictions.pneumonia
    told = sorted({*PREVALENCES, *prevalences})
    others = [point for point in other_points if point.name != operating_point.name]
    points = [operating_point, *others]
    ranking = Ranking(pneumonia, truth)
    decision = Decision(truth, pneumonia >= operating_point.threshold)
    # Keys are only read back below; a prefix keeps the operating points' own names apart.
    subjects: dict[str, Subject] = {
        "ranking": ranking,
        "error": ProbabilityError(pneumonia, truth),
        "discrimination": Discrimination(ranking),
        **{f"point {p.name}": Decision(truth, pneumonia >= p.threshold) for p in points},
        **{f"prevalence {p}": AtPrevalence(decision, p) for p in told},
        **_class_subjects(predictions),
    }
    measured = assess(subjects, predictions.patients, rng, replicates)
    at_points = [
        PointFigures(
            point=point,
            counts=counts_at(point.threshold, pneumonia, truth),
            figures=measured[f"point {point.name}"],
        )
        for point in points
    ]
    several = len(findings) > 2
    by_delong = delong_interval(ranking, predictions.patients)
    return Evidence(
        hilum_version=__version__,
        created=context.created or datetime.now(UTC).isoformat(timespec="seconds"),
        command=context.command,
        classifier_name=context.classifier_name,
        classifier_sha256=context.classifier_sha256,
        cohort_name=context.cohort_name,
        cohort_sha256=context.cohort_sha256,
        part=context.part,
        phantom=context.phantom,
        labels=predictions.labels,
        radiographs=len(predictions),
        patients=predictions.patient_count,
        left_out=context.left_out,
        unreadable=context.unreadable,
        gate_refuses=context.gate_refuses,
        like_training=context.like_training,
        test_openings=context.test_openings,
        sizes=_sizes(predictions),
        prevalence=float(truth.mean()),
        seed=seed,
        replicates=replicates,
        operating_point=at_points[0],
        other_operating_points=tuple(at_points[1:]),
        figures={**measured["ranking"], **measured["discrimination"], **measured["error"]},
        auc_by_delong=by_delong if isinstance(by_delong, Interval) else None,
        confusion=_confusion(predictions, operating_point),
        per_class=tuple(
            ClassFigures(
                finding=finding,
                figures={**measured[f"decision {finding}"], **measured[f"ranking {finding}"]},
            )
            for finding in (findings if several else ())
        ),
        overall={**measured["macro"], **measured["agreement"]} if several else {},
        at_prevalence=tuple(
            _at_prevalence(p, measured[f"prevalence {p}"], at_points[0], pneumonia, truth)
            for p in told
        ),
        decision_curve=decision_curve(pneumonia, truth),
        # A seed of its own, so that the other figures stay what they were.
        conformal=measure_conformal_sets(predictions, np.random.default_rng(seed), replicates),
        abstention=abstention_curve(pneumonia, truth, operating_point.threshold),
        calibration=calibration_table(pneumonia, truth, predictions.patients),
        calibration_quality=calibration_quality(
            pneumonia, truth, predictions.patients, np.random.default_rng(seed), replicates
        ),
        calibration_choice=context.calibration_choice,
        curves=curves(ranking, predictions.patients, rng, replicates),
    )


def _at_prevalence(
    prevalence: float,
    found: Figures,
    here: PointFigures,
    pneumonia: NDArray[np.float64],
    truth: NDArray[np.bool_],
) -> PrevalenceFigures:
    rates = here.figures[FigureName.SENSITIVITY], here.figures[FigureName.SPECIFICITY]
    ppv, npv = (
        exact_where_certain(name, found[name], *rates, prevalence)
        for name in (FigureName.PPV, FigureName.NPV)
    )
    if truth.all() or not truth.any():
        return PrevalenceFigures(prevalence=prevalence, ppv=ppv, npv=npv)
    threshold = np.array([here.point.threshold])
    return PrevalenceFigures(
        prevalence=prevalence,
        ppv=ppv,
        npv=npv,
        threshold=float(probabilities_at(threshold, float(truth.mean()), prevalence)[0]),
        calibration_error=calibration_error_at(pneumonia, truth, prevalence),
    )


def _most_probable(predictions: Predictions) -> NDArray[np.int64]:
    return np.asarray(np.argmax(predictions.probabilities, axis=1), dtype=np.int64)


def _class_subjects(predictions: Predictions) -> dict[str, Subject]:
    findings = predictions.labels.findings
    if len(findings) == 2:
        return {}
    called = _most_probable(predictions)
    subjects: dict[str, Subject] = {}
    rankings: list[Ranking] = []
    for index, finding in enumerate(findings):
        truth, other = predictions.truth == index, f"not {finding}"
        ranking = Ranking(predictions.probabilities[:, index], truth, str(finding), other)
        rankings.append(ranking)
        subjects[f"ranking {finding}"] = ranking
        subjects[f"decision {finding}"] = Decision(truth, called == index, str(finding), other)
    subjects["macro"] = MacroRanking(tuple(rankings))
    subjects["agreement"] = Agreement(predictions.truth, called, tuple(map(str, findings)))
    return subjects


def _sizes(predictions: Predictions) -> tuple[ClassSize, ...]:
    masks = [predictions.truth == i for i in range(len(predictions.labels.findings))]
    return tuple(
        ClassSize(
            finding=finding,
            radiographs=int(mask.sum()),
            patients=len(np.unique(predictions.patients[mask])),
        )
        for finding, mask in zip(predictions.labels.findings, masks, strict=True)
    )


def _confusion(predictions: Predictions, point: OperatingPoint) -> ConfusionMatrix:
    findings = predictions.labels.findings
    if len(findings) == 2:
        # At the operating point, so that the matrix and the counts beside it are the same.
        called = (predictions.pneumonia >= point.threshold).astype(np.int64)
        rule = f"pneumonia where its probability is at least {point.threshold:.3g}"
    else:
        called = _most_probable(predictions)
        rule = "the most probable finding; the operating point plays no part"
    matrix = np.zeros((len(findings), len(findings)), dtype=np.int64)
    np.add.at(matrix, (predictions.truth, called), 1)
    return ConfusionMatrix(
        findings=findings, rule=rule, counts=tuple(tuple(map(int, row)) for row in matrix)
    )

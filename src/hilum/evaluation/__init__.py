"""Evidence: whether a classifier can be trusted, with an interval on every figure."""

from hilum.evaluation.build import build_evidence
from hilum.evaluation.calibration import (
    CalibrationTable,
    calibration_table,
    fit_calibration,
    negative_log_likelihood,
)
from hilum.evaluation.evaluate import evaluate_classifier
from hilum.evaluation.evidence import Context, Evidence, PointFigures
from hilum.evaluation.figures import Figure, FigureName, Interval
from hilum.evaluation.gallery import GalleryItem, confident_mistakes
from hilum.evaluation.intervals import MINIMUM_PATIENTS, REPLICATES, assess, bootstrap
from hilum.evaluation.openings import openings_of, record_opening
from hilum.evaluation.operating_points import (
    AIM_FORMS,
    Aim,
    AimKind,
    choose_operating_point,
    counts_at,
    parse_aim,
)
from hilum.evaluation.predictions import Predictions
from hilum.evaluation.reading import predict
from hilum.evaluation.report import render_report, write_evidence
from hilum.evaluation.subjects import Decision, Ranking
from hilum.evaluation.verdict import caveats, verdict
from hilum.evaluation.wording import figure_in_words

__all__ = [
    "AIM_FORMS",
    "MINIMUM_PATIENTS",
    "REPLICATES",
    "Aim",
    "AimKind",
    "CalibrationTable",
    "Context",
    "Decision",
    "Evidence",
    "Figure",
    "FigureName",
    "GalleryItem",
    "Interval",
    "PointFigures",
    "Predictions",
    "Ranking",
    "assess",
    "bootstrap",
    "build_evidence",
    "calibration_table",
    "caveats",
    "choose_operating_point",
    "confident_mistakes",
    "counts_at",
    "evaluate_classifier",
    "figure_in_words",
    "fit_calibration",
    "negative_log_likelihood",
    "openings_of",
    "parse_aim",
    "predict",
    "record_opening",
    "render_report",
    "verdict",
    "write_evidence",
]

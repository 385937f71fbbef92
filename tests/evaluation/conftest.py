"""Simulated predictions: patients with several radiographs that are alike."""

from collections.abc import Callable

import numpy as np
import pytest

from hilum.evaluation import Context, Predictions
from hilum.findings import Part, Task
from hilum.model.schema import Labels

Simulate = Callable[..., Predictions]


@pytest.fixture(scope="session")
def simulate() -> Simulate:
    def make(
        radiographs: int = 300, task: Task = Task.BINARY, *, seed: int = 0, signal: float = 2.0
    ) -> Predictions:
        rng = np.random.default_rng(seed)
        labels, people = len(task.labels), max(1, radiographs // 2)
        patient = rng.integers(0, people, radiographs)
        truth = (np.arange(people) % labels)[patient]
        scores = rng.normal(0, 0.8, (people, labels))[patient]
        scores = scores + rng.normal(0, 0.8, (radiographs, labels))
        scores[np.arange(radiographs), truth] += signal
        odds = np.exp(scores)
        return Predictions(
            labels=Labels(task=task, findings=task.labels),
            probabilities=odds / odds.sum(axis=1, keepdims=True),
            truth=truth.astype(np.int64),
            patients=np.array([f"patient {p}" for p in patient]),
            ids=np.array([f"radiograph-{i}.png" for i in range(radiographs)]),
        )

    return make


@pytest.fixture(scope="session")
def binary() -> Callable[..., Predictions]:
    """Predictions from plain lists, each radiograph a patient of its own unless said otherwise."""

    def make(
        pneumonia: list[float], truth: list[int], patients: list[str] | None = None
    ) -> Predictions:
        p = np.array(pneumonia, dtype=np.float64)
        ids = [f"r{i}" for i in range(len(p))]
        return Predictions(
            labels=Labels(task=Task.BINARY, findings=Task.BINARY.labels),
            probabilities=np.stack([1 - p, p], axis=1),
            truth=np.array(truth),
            patients=np.array(patients or ids),
            ids=np.array(ids),
        )

    return make


@pytest.fixture(scope="session")
def context() -> Context:
    return Context(
        command="hilum evaluate m.hilum --cohort c.parquet",
        classifier_name="m.hilum",
        cohort_name="simulated",
        part=Part.TEST,
        phantom=False,
        classifier_sha256="a" * 64,
        cohort_sha256="b" * 64,
        created="2026-01-02T03:04:05+00:00",
    )

"""How long the evidence takes once the scores are there.

    python benchmarks/evidence.py [--radiographs 10000] [--runs 3]

Draws probabilities of that many radiographs, two of each patient, builds the whole evidence with its
subgroups and intervals, and writes the report. Prints medians of several runs.
"""

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from hilum.cohort.table import COLUMNS, Cohort
from hilum.evaluation import Context, Predictions, build_evidence, choose_operating_point, parse_aim
from hilum.evaluation.report import write_evidence
from hilum.evaluation.subgroups import subgroup_evidence
from hilum.findings import Part, Task
from hilum.model.schema import Labels


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--radiographs", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    predictions, cohort = drawn(asked.radiographs)
    point = choose_operating_point(
        parse_aim("sensitivity>=0.95"),
        predictions.pneumonia,
        predictions.is_pneumonia,
        "validation",
    )
    context = Context(
        command="benchmarks/evidence.py", classifier_name="drawn", cohort_name="drawn",
        part=Part.VALIDATION, phantom=True,
    )  # fmt: skip
    seconds: dict[str, list[float]] = {"evidence": [], "subgroups": [], "report": []}
    for _ in range(asked.runs):
        start = time.perf_counter()
        evidence = build_evidence(predictions, point, context=context, seed=0)
        built = time.perf_counter()
        subgroups = subgroup_evidence(predictions, cohort, point, seed=0)
        split = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            write_evidence(evidence.model_copy(update={"subgroups": subgroups}), Path(folder))
        written = time.perf_counter()
        for name, value in zip(
            seconds, (built - start, split - built, written - split), strict=True
        ):
            seconds[name].append(value)
    groups = sum(len(axis.groups) for axis in subgroups)
    print(
        f"{len(predictions)} radiographs of {predictions.patient_count} patients, {groups} subgroups"
    )
    for name, values in seconds.items():
        print(f"{name}: {statistics.median(values):.1f} s")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def drawn(count: int) -> tuple[Predictions, Cohort]:
    """Return predictions with an AUC of about 0.96 and a cohort that knows view, age and sex."""
    rng = np.random.default_rng(0)
    people = -(-count // 2)

    def of_patients(values: np.ndarray) -> np.ndarray:
        return values.repeat(2)[:count]

    patients = of_patients(np.array([f"p{row}" for row in range(people)]))
    truth = of_patients(rng.random(people) < 0.5).astype(np.int64)
    pneumonia = 1 / (1 + np.exp(-(2.5 * (2 * truth - 1) + rng.normal(0, 2, count))))
    ids = np.array([f"r{row}" for row in range(count)])
    known = {
        "id": ids.tolist(), "path": ids.tolist(), "patient": patients.tolist(),
        "finding": np.where(truth > 0, "pneumonia", "normal").tolist(),
        "part": ["validation"] * count, "source": of_patients(rng.choice(["a", "b"], people)).tolist(),
        "view": rng.choice(["AP", "PA"], count).tolist(),
        "age": of_patients(rng.uniform(0, 90, people)).tolist(),
        "sex": of_patients(rng.choice(["F", "M"], people)).tolist(),
        "rows": rng.integers(500, 3000, count).tolist(), "columns": [1000] * count,
    }  # fmt: skip
    table = pl.DataFrame(
        {name: known.get(name, [None] * count) for name in COLUMNS},
        schema_overrides=COLUMNS,
    )
    predictions = Predictions(
        labels=Labels(task=Task.BINARY, findings=Task.BINARY.labels),
        probabilities=np.stack([1 - pneumonia, pneumonia], axis=1),
        truth=truth, patients=patients, ids=ids,
    )  # fmt: skip
    cohort = Cohort(
        table=table, root=Path(), name="drawn", phantom=True, patients_from="drawn", made_by={}
    )
    return predictions, cohort


if __name__ == "__main__":
    main()

"""What a study leaves behind: the best recipe, a table of its trials, and what mattered."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import tomli_w
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from hilum._version import __version__
from hilum.files import atomic_path, write_text
from hilum.training._tune_study import counts, kept_trials
from hilum.training._tune_worker import settings_of
from hilum.training.recipe import StagedRecipe

__all__ = ["Report"]

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#6b6b6b"  # Okabe & Ito, as in evaluation


@dataclass(frozen=True, slots=True)
class Report:
    """Writes a study's results into a folder, each file whole or not at all."""

    study: optuna.Study
    recipe: StagedRecipe
    out: Path
    about: dict[str, Any]  # what tune.json says beside the results

    @property
    def monitor(self) -> str:
        """The figure that is searched for."""
        return self.recipe.stages[-1].monitor

    def ranked(self) -> list[FrozenTrial]:
        """Return the finished trials, the best first."""
        done = [t for t in kept_trials(self.study) if t.state is TrialState.COMPLETE]
        sign = 1 if self.monitor == "loss" else -1
        return sorted(done, key=lambda trial: (sign * (trial.value or 0.0), trial.number))

    def settings(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return what a trial tried, by dotted path."""
        return settings_of(self.recipe, trial.params)

    def best_recipe(self) -> StagedRecipe | None:
        """Return the recipe of the best trial; None when none is finished."""
        ranked = self.ranked()
        if not ranked:
            return None
        return self.recipe.changed(self.settings(ranked[0]), name=f"{self.recipe.name}-best")

    def write_tables(self) -> None:
        """Write `best.toml`, `trials.csv` and `tune.json`."""
        ranked, best = self.ranked(), self.best_recipe()
        if best is not None:
            write_text(self.out / "best.toml", self._toml(best, ranked[0], len(ranked)))
        write_text(self.out / "trials.csv", self._csv())
        summary = {
            **self.about,
            "monitor": self.monitor,
            "best": {
                "trial": ranked[0].number,
                "value": ranked[0].value,
                "folds": ranked[0].user_attrs["folds"],
                "settings": self.settings(ranked[0]),
            }
            if ranked
            else None,
            "trials": counts(self.study),
        }
        write_text(self.out / "tune.json", json.dumps(summary, indent=2))

    def write_pictures(self) -> None:
        """Write `history.png`, `importance.json` and, where there is one, `importance.png`."""
        self._draw_history()
        importance, reason = self._importance()
        write_text(
            self.out / "importance.json",
            json.dumps({"importance": importance, "reason": reason}, indent=2),
        )
        if importance:
            self._draw_importance(importance)
        else:
            (self.out / "importance.png").unlink(missing_ok=True)

    def _toml(self, best: StagedRecipe, trial: FrozenTrial, finished: int) -> str:
        command = "".join(c if c.isprintable() else " " for c in str(self.about["command"]))
        folds = trial.user_attrs["folds"]
        comments = (
            f"Written by hilum {__version__}: {command}",
            f"{self.monitor} {trial.value:.4f}, mean over {len(folds)} folds of the train part "
            f"({min(folds):.4f} to {max(folds):.4f}).",
            f"The best of {finished} finished trials (number {trial.number}), hence optimistic: "
            "measure it on radiographs",
            "that the search has not seen.",
        )
        content = tomli_w.dumps(_without_none(best.model_dump(mode="json")))
        return "".join(f"# {line}\n" for line in comments) + "\n" + content

    def _csv(self) -> str:
        buffer = io.StringIO()
        folds = [f"fold {number + 1}" for number in range(int(self.about["folds"]))]
        paths = list(self.recipe.search)
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(
            ["trial", "state", self.monitor, *folds, *paths, "seconds", "worker", "reason"]
        )
        for trial in kept_trials(self.study):
            figures = trial.user_attrs.get("folds", [])
            spent = trial.duration.total_seconds() if trial.duration else None
            writer.writerow(
                [
                    trial.number,
                    trial.state.name.lower(),
                    trial.value if trial.state is TrialState.COMPLETE else "",
                    *figures,
                    *[""] * (len(folds) - len(figures)),
                    *(self.settings(trial).get(path, "") for path in paths),
                    "" if spent is None else round(spent, 1),
                    trial.user_attrs.get("worker", ""),
                    trial.user_attrs.get("reason", _silence(trial)),
                ]
            )
        return buffer.getvalue()

    def _importance(self) -> tuple[dict[str, float] | None, str | None]:
        """Return each field's share of the figure's variance, or why it cannot be told."""
        figures = {trial.value for trial in self.ranked()}
        if len(self.ranked()) < 2:
            return None, "fewer than two trials are finished"
        if len(figures) < 2:
            return None, f"all finished trials have the same {self.monitor}"
        # Hutter et al., ICML 2014.
        evaluator = FanovaImportanceEvaluator(seed=self.recipe.seed)
        return get_param_importances(self.study, evaluator=evaluator), None

    def _draw_history(self) -> None:
        done = sorted(self.ranked(), key=lambda trial: trial.number)
        figure, axes = _figure(3.2)
        best: list[float] = []
        for trial in done:
            assert trial.value is not None
            choose = min if self.monitor == "loss" else max
            best.append(choose([*best[-1:], trial.value]))
        numbers = [trial.number for trial in done]
        axes.plot(numbers, [t.value for t in done], "o", color=_BLUE, label="finished trial")
        axes.step(numbers, best, where="post", color=_ORANGE, label="best so far")
        for trial in kept_trials(self.study):
            if trial.state is TrialState.PRUNED:
                axes.axvline(trial.number, color=_GREY, linestyle=":", linewidth=1)
        axes.plot([], [], color=_GREY, linestyle=":", label="pruned")
        axes.set(xlabel="trial", ylabel=f"{self.monitor}, mean over folds", title=self._title())
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
        axes.grid(alpha=0.3)
        with atomic_path(self.out / "history.png") as temporary:
            figure.savefig(temporary, dpi=110)

    def _draw_importance(self, importance: dict[str, float]) -> None:
        figure, axes = _figure(0.8 + 0.4 * len(importance))
        axes.barh(list(importance)[::-1], list(importance.values())[::-1], color=_BLUE)
        axes.set(xlabel=f"share of the variance of {self.monitor} (fANOVA)", xlim=(0, 1))
        axes.set_title(self._title())
        with atomic_path(self.out / "importance.png") as temporary:
            figure.savefig(temporary, dpi=110)

    def _title(self) -> str:
        drawn = "DRAWN PHANTOMS, " if self.about["phantom"] else ""
        return f"{self.study.study_name}: {drawn}{len(self.ranked())} finished trials"


def _figure(height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _silence(trial: FrozenTrial) -> str:
    return "its worker was killed" if trial.state is TrialState.FAIL else ""


def _without_none(content: Any) -> Any:
    """Leave out what is None, which TOML cannot say; it is the default wherever it is allowed."""
    if isinstance(content, dict):
        return {key: _without_none(value) for key, value in content.items() if value is not None}
    if isinstance(content, list):
        return [_without_none(value) for value in content]
    return content

"""The folder of a training in stages: whose it is, what is taken up, and who may write there.

run.json                 which recipe, cohort, weights and version the stages belong to
stages/<n>-<name>/       curves, weights and report of each stage; checkpoints while it runs
tensorboard/<n>-<name>/  logs
model.hilum              only when everything is done
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hilum._version import __version__
from hilum.cohort.table import Cohort
from hilum.errors import UsageError, WeightsError
from hilum.files import sha256_of_file, write_text
from hilum.training.recipe import StagedRecipe

__all__ = ["taken_up"]

_MODEL, _PREVIOUS = "model.hilum", "model.previous.hilum"


@contextmanager
def taken_up(recipe: StagedRecipe, cohort: Cohort, out: Path, *, anew: bool) -> Iterator[None]:
    """Hold the folder for one training, with what an interrupted one of the same kind left there.

    Args:
        recipe: What is trained.
        cohort: On what.
        out: The folder.
        anew: Another training's stages may go. A finished classifier steps aside as
            `model.previous.hilum`, so that this training, if interrupted, is taken up as well.

    Raises:
        UsageError: If another process trains there, or the folder holds another training.
        WeightsError: If the recipe's file of weights is not there.
    """
    from filelock import FileLock, Timeout

    try:
        with FileLock(out / ".hilum.lock", timeout=0):
            _take_up(recipe, cohort, out, anew=anew)
            yield
    except Timeout as error:
        raise UsageError(
            f"another training is at work in {out}; wait for it or choose another folder"
        ) from error


def _take_up(recipe: StagedRecipe, cohort: Cohort, out: Path, *, anew: bool) -> None:
    about, stages = out / "run.json", out / "stages"
    wanted = {
        "recipe": recipe.digest(),
        "cohort": cohort.digest(),
        "weights": _weights_digest(recipe.network.weights),
        "version": __version__,
    }
    try:
        left = json.loads(about.read_text())
    except (OSError, ValueError):
        left = None
    finished = (out / _MODEL).is_file()
    if stages.is_dir() and (left != wanted or (anew and finished)):
        if not anew:
            raise UsageError(
                f"{out} holds an unfinished training of another recipe, cohort or version; choose "
                "another folder, or add --force to start anew there"
            )
        if left is None:
            raise UsageError(f"{stages} was not made by a training of hilum; choose another folder")
        try:
            for stage in stages.iterdir():
                shutil.rmtree(out / "tensorboard" / stage.name, ignore_errors=True)
            shutil.rmtree(stages)
        except OSError as error:
            raise UsageError(f"{stages} cannot be removed ({error.strerror})") from error
    if anew and finished:
        (out / _MODEL).replace(out / _PREVIOUS)
    write_text(about, json.dumps(wanted, indent=2))


def _weights_digest(weights: str) -> str:
    """Return what tells starting weights apart: a file's digest, or the word itself."""
    if weights in ("imagenet", "random"):
        return weights
    path = Path(weights)
    if not path.is_file():
        raise WeightsError(f"there are no weights {path}; give a .safetensors or .hilum file")
    return sha256_of_file(path)

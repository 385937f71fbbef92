"""Where a study lives: a database that several processes and machines share, by Optuna.

A running trial gives signs of life. One that stays silent was killed, and whoever asks next tries it
again. A password in the database's URL is used and never shown.
"""

import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import MedianPruner
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from hilum.errors import MissingExtraError, UsageError

__all__ = [
    "FINISHED",
    "StudyPlace",
    "counts",
    "database",
    "database_errors",
    "kept_trials",
    "load_study",
    "open_study",
    "quiet",
    "shown",
]

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

_ABOUT = "hilum"  # the study's attribute that says what it searches
_SILENCE = 4  # signs of life that may fail to come before a trial counts as killed
_RETRIES = 2  # of a trial whose worker was killed; its settings may be what kills it


@dataclass(frozen=True, slots=True)
class StudyPlace:
    """A study in a database."""

    url: str = field(repr=False)  # may hold a password
    name: str
    heartbeat: int  # seconds between two signs of life of a running trial


def database(storage: str | None, out: Path) -> str:
    """Return the URL of a study's database for SQLAlchemy.

    Args:
        storage: As given; None: the file `study.db` in `out`.
        out: The folder of the results.

    Raises:
        UsageError: If it is no URL of SQLite or PostgreSQL.
    """
    if storage is None:
        url = URL.create("sqlite", database=str(out.resolve() / "study.db"))
        return url.render_as_string()
    try:
        # What SQLAlchemy says of a URL it cannot read may quote the URL, hence `from None`.
        url = make_url(re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", storage))
        kind = url.get_backend_name()
    except (ArgumentError, ValueError):
        kind = ""
    if kind not in ("sqlite", "postgresql"):
        raise UsageError(
            "--storage takes no such URL; write postgresql://USER@HOST/DATABASE or "
            "sqlite:////FOLDER/FILE.db"
        ) from None
    return url.render_as_string(hide_password=False)


def shown(url: str) -> str:
    """Return a database's URL as it may be shown: without password and options."""
    whole = make_url(url)
    return URL.create(
        whole.get_backend_name(), whole.username, None, whole.host, whole.port, whole.database
    ).render_as_string()


def open_study(
    place: StudyPlace, *, minimise: bool, about: dict[str, Any], anew: bool
) -> optuna.Study:
    """Make a study, or take up the one of that name.

    Args:
        place: Where it lives.
        minimise: Whether a lower figure is better.
        about: What is searched on what; a study holds trials of one kind alone.
        anew: Forget the trials that are there.

    Raises:
        UsageError: If the database cannot be reached, or the study is about something else.
        MissingExtraError: If PostgreSQL's driver is not installed.
    """
    with database_errors(place), quiet():
        storage = _storage(place)
        if anew and place.name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=place.name, storage=storage)
        study = optuna.create_study(
            study_name=place.name,
            storage=storage,
            direction="minimize" if minimise else "maximize",
            load_if_exists=True,
            pruner=_pruner(),
        )
        if _ABOUT not in study.user_attrs and not study.get_trials(deepcopy=False):
            study.set_user_attr(_ABOUT, about)
        elif study.user_attrs.get(_ABOUT) != about:
            raise UsageError(
                f"the study '{place.name}' in {shown(place.url)} holds trials of another recipe, "
                "cohort or number of folds; choose another name with --study, or add --force to "
                "forget them"
            )
    return study


def load_study(place: StudyPlace) -> optuna.Study:
    """Return a study that `open_study` made.

    Raises:
        UsageError: If the database cannot be reached or the study is gone.
    """
    with database_errors(place):
        try:
            return optuna.load_study(
                study_name=place.name, storage=_storage(place), pruner=_pruner()
            )
        except KeyError as error:
            raise UsageError(f"the study '{place.name}' was removed while it ran") from error


def kept_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials, without those that were one too many when several workers asked at once."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if not trial.user_attrs.get("surplus")]


def counts(study: optuna.Study) -> dict[str, int]:
    """Return how many trials finished, were pruned, failed, run and wait."""
    states = [trial.state for trial in kept_trials(study)]
    return {
        "finished": states.count(TrialState.COMPLETE),
        "pruned": states.count(TrialState.PRUNED),
        "failed": states.count(TrialState.FAIL),
        "running": states.count(TrialState.RUNNING),
        "waiting": states.count(TrialState.WAITING),
    }


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what Optuna logs, and its notice that signs of life are experimental, to itself."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _pruner() -> MedianPruner:
    # Median stopping (Golovin et al., KDD 2017). The first two epochs of the first stage say little.
    return MedianPruner(n_startup_trials=5, n_warmup_steps=2, n_min_trials=3)


def _storage(place: StudyPlace) -> RDBStorage:
    try:
        return _connected(place)
    except ImportError as error:
        raise MissingExtraError("a study in PostgreSQL", "scale") from error
    except RuntimeError as error:
        raise UsageError(
            f"the study's database {shown(place.url)} was made by another version of Optuna than "
            f"{optuna.__version__}; name a new one"
        ) from error
    except SQLAlchemyError:
        # Machines that start together on an empty database all want to make its tables.
        time.sleep(1.0)
        return _connected(place)


def _connected(place: StudyPlace) -> RDBStorage:
    sqlite = place.url.startswith("sqlite")
    return RDBStorage(
        # Optuna takes braces for its own placeholders.
        place.url.replace("{", "{{").replace("}", "}}"),
        # SQLite makes writers wait for each other; a server may close an idle connection.
        engine_kwargs={"connect_args": {"timeout": 60}} if sqlite else {"pool_pre_ping": True},
        heartbeat_interval=place.heartbeat,
        grace_period=_SILENCE * place.heartbeat,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=_RETRIES),
    )


@contextmanager
def database_errors(place: StudyPlace) -> Iterator[None]:
    """Say in one sentence what a database that cannot be used says.

    Raises:
        UsageError: Without the password.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error if isinstance(error, SQLAlchemyError) else error.__cause__ or error
        reason = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
        raise UsageError(
            f"the study's database {shown(place.url)} cannot be used ({reason}); what is finished "
            "is kept, and the same command goes on once it answers"
        ) from error

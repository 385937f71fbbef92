"""Downloads that go through Kaggle's own library, `kagglehub`, an optional part of the installation.

It knows about logins, accepted rules, versions and checksums. This module chooses the call and turns
its failures into advice. Written for the interface of kagglehub 1.0.2.
"""

import inspect
from collections.abc import Callable
from pathlib import Path

from hilum.cohort._catalogue import DataSet, Form
from hilum.errors import DownloadError, MissingExtraError

__all__ = ["download_from_kaggle"]


def download_from_kaggle(data_set: DataSet, target: Path) -> Path:
    """Download with Kaggle's own library, which knows about logins, rules and versions.

    Raises:
        MissingExtraError: If the library is not installed.
        DownloadError: If there is no login, the rules are not accepted, or the download fails.
    """
    try:
        import kagglehub
        from kagglehub import exceptions
    except ImportError as error:
        raise MissingExtraError("Downloading from Kaggle", "kaggle") from error
    call: Callable[..., str] = (
        kagglehub.competition_download
        if data_set.form is Form.KAGGLE_COMPETITION
        else kagglehub.dataset_download
    )
    # Older versions download into a cache of their own; the result says where it is.
    options = (
        {"output_dir": str(target)} if "output_dir" in inspect.signature(call).parameters else {}
    )
    failures = tuple(
        getattr(exceptions, name)
        for name in (
            "UnauthenticatedError",
            "CredentialError",
            "DataCorruptionError",
            "NotFoundError",
        )
        if hasattr(exceptions, name)
    )
    try:
        return Path(call(data_set.handle, **options))
    except FileExistsError as error:
        raise DownloadError(
            f"{target} holds a download that did not finish; delete it and run the command again"
        ) from error
    except (*failures, OSError, ValueError) as error:  # its HTTP errors are OSErrors (requests)
        raise DownloadError(_kaggle_advice(data_set, error)) from error


def _kaggle_advice(data_set: DataSet, error: Exception) -> str:
    """Say what to do about a failure of Kaggle's library."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    unknown = type(error).__name__ in ("UnauthenticatedError", "CredentialError")
    rules = (
        f", and accept the rules at {data_set.homepage}/rules"
        if data_set.form is Form.KAGGLE_COMPETITION
        else ""
    )
    login = (
        "set KAGGLE_USERNAME and KAGGLE_KEY (or KAGGLE_API_TOKEN), put kaggle.json into ~/.kaggle, or "
        "run python -c 'import kagglehub; kagglehub.login()'"
    )
    if unknown or status == 401:
        return f"Kaggle does not know you, so '{data_set.name}' was not downloaded; {login}{rules}"
    if status == 403:
        return f"Kaggle refuses '{data_set.name}' (status 403); log in ({login}){rules}"
    first_line = (str(error) or type(error).__name__).splitlines()[0]
    return (
        f"Kaggle's download of '{data_set.name}' failed ({first_line}); check the connection and run "
        f"the command again, or download it by hand from {data_set.homepage}"
    )

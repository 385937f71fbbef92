"""What can go wrong for a user, as exceptions that say what, where and what to do.

Every error that a user's input can cause derives from `HilumError`; the command line prints its
text alone and ends with exit status 2. Anything else that escapes is a bug of ours. Messages never
carry a patient's name or identifier.
"""

__all__ = [
    "CohortError",
    "DownloadError",
    "EvaluationError",
    "HilumError",
    "MissingExtraError",
    "ModelError",
    "RadiographError",
    "RecipeError",
    "UsageError",
    "WeightsError",
]


class HilumError(Exception):
    """The base of every error that a user's input can cause."""


class UsageError(HilumError):
    """A command was asked wrongly: an option, a path or a combination that cannot work."""


class RadiographError(HilumError):
    """A file cannot be read as one radiograph."""


class CohortError(HilumError):
    """A cohort cannot be built, read, split or used as asked."""


class DownloadError(HilumError):
    """A data set cannot be downloaded, or arrived with the wrong digest."""


class RecipeError(HilumError):
    """A recipe does not say what can be trained."""


class WeightsError(HilumError):
    """Starting weights cannot be had, or do not fit the network."""


class ModelError(HilumError):
    """A `.hilum` file is damaged, from another version, or does not fit the request."""


class EvaluationError(HilumError):
    """A figure was asked for that the radiographs at hand cannot carry."""


class MissingExtraError(HilumError):
    """A feature needs an optional part of the installation.

    Args:
        feature: What was asked for, for people.
        extra: The extra that brings it, such as `train`.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional part: pip install 'hilum[{extra}]'")

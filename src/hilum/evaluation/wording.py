"""How figures are said to people, the same on every page and in every table."""

from hilum.evaluation.figures import Figure

__all__ = ["brief", "figure_in_words", "percent"]


def figure_in_words(figure: Figure) -> str:
    """Say a figure with its interval, such as "0.974, 95 % interval 0.953 to 0.988"."""
    if figure.value is None:
        return f"undefined: {figure.reason}"
    if figure.interval is None:
        return f"{figure.value:.3f}, no interval: {figure.no_interval}"
    low, high = figure.interval.lower, figure.interval.upper
    return f"{figure.value:.3f}, 95 % interval {low:.3f} to {high:.3f}"


def brief(figure: Figure) -> str:
    """Say a figure shortly, such as "0.974 (0.953 to 0.988)"."""
    if figure.value is None:
        return "undefined"
    if figure.interval is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.interval.lower:.3f} to {figure.interval.upper:.3f})"


def percent(fraction: float) -> str:
    """Say a fraction in per cent, such as "62.5 %"."""
    return f"{100 * fraction:.1f} %"

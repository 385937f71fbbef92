"""The definitions that a page gives: exactly those that something on it leads to.

A reader who meets a word is one click from what it means, and no page explains what it does not use.
"""

import re
from typing import TYPE_CHECKING

from hilum.evaluation.figures import DEFINITIONS

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["TERMS", "with_contents", "with_definitions"]

# Words beside the figures, which `hilum.evaluation.figures` defines: heading and meaning.
TERMS: dict[str, tuple[str, str]] = {
    "interval": (
        "95 % interval",
        "The range of the middle 95 % of values when patients are drawn again with replacement, all "
        "radiographs of a patient together. It tells of chance in who was sampled, not of other "
        "hospitals, machines or wrong labels. Where a fraction is exactly 0 or 1 the exact binomial "
        "interval over patients stands instead. With few mistakes, a percentile interval is somewhat "
        "too narrow.",
    ),
    "operating-point": (
        "Operating point",
        "A threshold on the calibrated probability with a stated aim, chosen on radiographs other "
        "than those of this page wherever possible. At or above it a radiograph is called pneumonia.",
    ),
    "prevalence": (
        "Prevalence",
        "The share of radiographs that show pneumonia. What a call of the classifier means depends on it.",
    ),
    "ece": (
        "Expected calibration error",
        "Mean distance between probability and observed fraction over bins, weighted by their size. "
        "It depends on the binning, grows by chance where radiographs are few, and has no interval "
        "here for that reason.",
    ),
    "brier-parts": (
        "Parts of the Brier score",
        "Reliability is how far probabilities lie from what came true, resolution how far groups of "
        "radiographs of like probability differ in it, and uncertainty what the prevalence alone gives "
        "(Murphy 1973). Reliability less resolution plus uncertainty is the score, but for what varies "
        "within the groups (Stephenson and others 2008).",
    ),
    "log-loss": (
        "Log-loss",
        "Mean of the negative logarithm of the probability that was given to the true finding. Lower "
        "is better; being sure and wrong costs most.",
    ),
    "wilson": (
        "Wilson interval",
        "An interval for a fraction that also holds for few patients and near 0 and 1 (Wilson 1927). "
        "Here it counts patients, not radiographs.",
    ),
    "conformal": (
        "Conformal set",
        "All findings that cannot be ruled out at a stated level, by how sure the classifier is of "
        "each finding on radiographs that have it. Over many radiographs like these, the set holds "
        "the true finding at least that often.",
    ),
    "referral": (
        "Referring the least certain",
        "The radiographs whose log-odds lie nearest the threshold go to a person, and the classifier "
        "decides the rest.",
    ),
    "net-benefit": (
        "Net benefit",
        "True positives per radiograph, less false positives weighted by the odds of the threshold "
        "(Vickers and Elkin 2006). It says whether acting on the classifier beats referring everybody "
        "or nobody.",
    ),
    "gate": (
        "Gate",
        "What hilum asks of an input before it is read: a smallest size, a largest ratio of the "
        "sides, some contrast. Screening refuses the rest with a sentence.",
    ),
    "neighbours": (
        "Nearest training radiographs",
        "The radiographs of the train part whose embedding (the numbers that the network's last layer "
        "decides by) points most nearly the same way. The distance is one minus the cosine: 0 is the "
        "same to the classifier, 1 has nothing in common. Alike to the classifier need not be alike "
        "to a radiologist.",
    ),
    "delong": (
        "DeLong's test",
        "Compares two areas under the ROC curve on the same radiographs by their covariance (DeLong "
        "1988); a patient's radiographs are summed first, so that they do not count as independent "
        "(Obuchowski 1997).",
    ),
    "sign-flip": (
        "Sign-flip test",
        "Exact. If two classifiers were alike, the surplus of right calls of one in each patient "
        "would as likely be the other's; all ways to flip patients are counted. With one radiograph "
        "for each patient it is McNemar's exact test.",
    ),
    "p": (
        "p",
        "How often chance alone would give a difference at least this large if there were none. A "
        "large p does not show that two classifiers are alike.",
    ),
    "holm": (
        "Correction by Holm",
        "Where many differences are tested, some look real by chance. The corrected p values keep the "
        "chance of even one false finding among those of a figure at 5 % (Holm 1979).",
    ),
    "grey-level": (
        "Grey level",
        "From 0 (black) to 255 (white), after polarity and window were applied, on a grid of "
        "224 by 224. Contrast is the standard deviation of a picture's grey levels.",
    ),
    "part": (
        "Part",
        "Train is learned from; validation chooses epochs, calibration and operating points; test is "
        "opened once, at the end. No patient is in two parts.",
    ),
}

_LINK = re.compile(r'href="#define-([^"]+)"')
_HEADING = re.compile(r'<h2 id="([^"]+)">(.*?)</h2>', re.DOTALL)


def with_definitions(body: "Markup") -> "Markup":
    """Add a section that defines what the links `#define-NAME` of a page's body lead to.

    Args:
        body: HTML, text from outside escaped. A definition that it has already is left alone.

    Raises:
        KeyError: If a link leads to a word that nobody defines.
    """
    from markupsafe import Markup

    known = {**{str(name): text for name, text in DEFINITIONS.items()}, **TERMS}
    wanted = {name for name in _LINK.findall(body) if f'id="define-{name}"' not in body}
    if not wanted:
        return body
    if unknown := wanted - set(known):
        raise KeyError(f"no definition of {', '.join(sorted(unknown))}")
    entries = Markup("\n").join(
        Markup('<dt id="define-{}">{}</dt>\n<dd>{}</dd>').format(name, *text)
        for name, text in known.items()
        if name in wanted
    )
    return body + Markup(
        '<section aria-labelledby="definitions" class="definitions">\n'
        '<h2 id="definitions">Definitions</h2>\n<dl>\n{}\n</dl>\n</section>\n'
    ).format(entries)


def with_contents(body: "Markup") -> "Markup":
    """Put links to the sections of a page before them, whichever sections it has.

    Args:
        body: HTML whose sections begin with `<h2 id="...">`.
    """
    from markupsafe import Markup

    links = Markup("\n").join(
        # What was a heading's HTML is escaped already.
        Markup('<li><a href="#{}">{}</a></li>').format(place, Markup(title).striptags())  # noqa: S704
        for place, title in _HEADING.findall(body)
    )
    return (
        Markup('<nav class="contents" aria-label="Contents">\n<ol>\n{}\n</ol>\n</nav>\n').format(
            links
        )
        + body
    )

"""Where a classifier looked, by several methods that need not agree.

Importing this needs no torch; the methods that go through gradients load it when they are asked for.
"""

from hilum.explanation.methods import METHODS, Explainer, Method, Options, explainer
from hilum.explanation.target import Target, target_of

__all__ = ["METHODS", "Explainer", "Method", "Options", "Target", "explainer", "target_of"]

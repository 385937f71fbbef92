"""The registry and the options of a recipe, which need no torch."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from hilum.errors import RecipeError
from hilum.networks import NETWORKS, HeadOptions, ScratchOptions, network_spec


def test_reading_the_registry_imports_no_torch():
    code = "import hilum.networks, sys; print({'torch', 'timm'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_says_what_it_is(name):
    spec = network_spec(name)
    assert spec.name == name
    assert spec.about.endswith(".")
    assert callable(spec.build)
    assert (spec.family == "backbone") == (spec.timm is not None)


def test_any_network_of_timm_can_be_named():
    spec = network_spec("timm:resnet18.a1_in1k")
    assert (spec.family, spec.timm, spec.size) == ("backbone", "resnet18.a1_in1k", None)


@pytest.mark.parametrize("name", ["resnet", "timm:", "timm:../x", "CNN-9", "timm:a b"])
def test_an_unknown_network_is_refused_with_the_known_ones(name):
    with pytest.raises(RecipeError, match=r"there is no network.*cnn-9.*convnext-tiny.*timm:NAME"):
        network_spec(name)


@pytest.mark.parametrize(
    ("document", "values"),
    [
        (ScratchOptions, {"activation": "swish"}),
        (ScratchOptions, {"dropout": 1.0}),
        (ScratchOptions, {"l2": -1e-4}),
        (ScratchOptions, {"width": 0.0}),
        (ScratchOptions, {"depth": 3}),
        (HeadOptions, {"pool": "max"}),
        (HeadOptions, {"dense": (0,)}),
        (HeadOptions, {"dropout": -0.1}),
    ],
)
def test_an_option_out_of_range_is_refused(document, values):
    with pytest.raises(ValidationError, match=next(iter(values))):
        document(**values)

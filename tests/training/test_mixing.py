"""Mixing: what is mixed into the picture is mixed into the target, in the same share."""

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from hilum.training.mixing import mixed  # noqa: E402
from hilum.training.stages import Loss  # noqa: E402


def pair():
    """A white radiograph of one label and a black one of the other."""
    inputs = torch.stack([torch.ones(1, 20, 20), torch.zeros(1, 20, 20)])
    return inputs, torch.eye(2)


@settings(deadline=None)
@given(
    st.integers(0, 2**63 - 1),
    st.sampled_from([Loss(mixup=0.5), Loss(cutmix=1.0), Loss(mixup=0.4, cutmix=0.4)]),
)
def test_the_share_of_white_is_the_share_of_its_label(seed, loss):
    inputs, targets = mixed(*pair(), loss, seed)
    torch.testing.assert_close(inputs.mean((1, 2, 3)), targets[:, 0].float(), atol=1e-5, rtol=0)
    torch.testing.assert_close(targets.sum(1), torch.ones(2))


def test_cutmix_pastes_and_mixup_blends():
    cut = [mixed(*pair(), Loss(cutmix=1.0), seed)[0] for seed in range(20)]
    assert all(set(picture.unique().tolist()) <= {0.0, 1.0} for picture in cut)
    blended = [mixed(*pair(), Loss(mixup=1.0), seed)[0] for seed in range(20)]
    assert all(len(picture[0].unique()) == 1 for picture in blended)


def test_with_both_they_take_turns_and_a_seed_repeats():
    both = Loss(mixup=1.0, cutmix=1.0)
    kinds = {len(mixed(*pair(), both, seed)[0][0].unique()) for seed in range(40)}
    assert kinds == {1, 2}
    assert torch.equal(mixed(*pair(), both, 7)[0], mixed(*pair(), both, 7)[0])


def test_features_without_places_are_blended():
    inputs = torch.rand(4, 8)
    out, _ = mixed(inputs, torch.eye(4), Loss(cutmix=1.0), 1)
    assert out.shape == inputs.shape

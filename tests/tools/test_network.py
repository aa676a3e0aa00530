"""The network and the augmentation of the backbone."""

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from siglum.lab.augment import Augmentation
from tools.backbone.handwriting import STEPS, handwriting, pen_skips, stroke_width
from tools.backbone.sign_net import SCALE, SignNet, margin_loss


def seeded(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def crosses() -> Tensor:
    images = torch.zeros(32, 1, 40, 40)
    images[:, :, 18:21, 6:34] = 1
    images[:, :, 6:34, 18:21] = 1
    return images


@pytest.mark.parametrize("step", [*STEPS, handwriting], ids=lambda step: step.__name__)
def test_steps_repeat_with_the_seed_and_ink_remains(step: Augmentation, crosses: Tensor) -> None:
    changed = step(crosses, seeded(0))

    assert changed.shape == crosses.shape and changed.isfinite().all()
    assert changed.min() >= 0 and changed.max() <= 1
    assert (changed.amax(dim=(1, 2, 3)) > 0.5).all()
    assert torch.equal(changed, step(crosses, seeded(0)))
    assert not torch.equal(changed, step(crosses, seeded(1)))


def test_stroke_width_widens_and_thins_and_pen_skips_only_remove_ink(crosses: Tensor) -> None:
    ink = stroke_width(crosses, seeded(0)).sum(dim=(1, 2, 3))
    changed = pen_skips(crosses, seeded(0))

    assert ink.min() < 0.9 * crosses[0].sum() and ink.max() > 1.2 * crosses[0].sum()
    assert (changed <= crosses).all() and (changed < crosses).any()


def test_logits_of_sign_net_are_scaled_cosines() -> None:
    model = SignNet(5).eval()
    images = torch.rand(3, 1, 40, 40)
    features, vectors = model.forward_features(images), model.head.weight

    expected = SCALE * torch.cosine_similarity(features[:, None], vectors[None], dim=2)
    torch.testing.assert_close(model(images), expected)


@pytest.mark.parametrize("options", [{}, {"blocks": 2, "pool": 0, "norm": 1}])
@pytest.mark.parametrize("size", [24, 40, 56])
def test_sign_net_has_features_for_every_frame(size: int, options: dict[str, int]) -> None:
    model = SignNet(5, 1, size, width=4, features=16, **options).eval()

    assert model.forward_features(torch.rand(2, 1, size, size)).shape == (2, 16)


def test_the_margin_lowers_the_cosine_of_the_right_class_alone() -> None:
    cosines, labels = torch.rand(4, 6, generator=seeded(0)), torch.tensor([0, 2, 5, 2])
    lowered = cosines - 0.3 * F.one_hot(labels, 6)

    loss = margin_loss(SCALE * cosines, labels, margin=0.3)
    torch.testing.assert_close(loss, F.cross_entropy(SCALE * lowered, labels))
    torch.testing.assert_close(
        margin_loss(SCALE * cosines, labels), F.cross_entropy(SCALE * cosines, labels)
    )


def test_plain_images_keep_all_their_ink(crosses: Tensor) -> None:
    plain = handwriting(crosses, seeded(0), plain=1.0)

    assert plain.shape == crosses.shape and not torch.equal(plain, crosses)
    assert not torch.equal(plain, handwriting(crosses, seeded(0), plain=0.5))

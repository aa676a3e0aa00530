"""Which pixels the score of an answer hangs on, in three ways that often disagree.

The score is the logit of the class that the network answers. Captum computes them.
Shapes: N pictures, C channels, S the side of the picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients, Occlusion, Saliency
from numpy.typing import NDArray
from torch import Tensor, nn

from siglum.lab.examine.subject import Pictures, Subject, ink, logits, zeros_like_paper

STEPS = 64  # on the way from paper to the picture
AT_ONCE = 32  # pictures that the network is shown in one call


@dataclass(frozen=True, eq=False)
class Attribution:
    """How much each pixel has to do with the score."""

    method: str
    names: tuple[str, ...]  # N pictures
    pictures: NDArray[np.float32]  # (N, C, S, S), in [0, 1]
    target: NDArray[np.int64]  # (N,), the class explained: the network's answer
    answers: tuple[str, ...]  # N, its name
    values: NDArray[np.float32]  # (N, S, S)
    signed: bool  # whether values below 0 speak against the answer
    unit: str  # of the values


def saliency(subject: Subject) -> Attribution:
    """Return how steeply the score changes with each pixel: absolute gradients.

    Source: Simonyan, Vedaldi, Zisserman 2013, "Deep inside convolutional networks",
    arXiv:1312.6034, section 3.
    """

    def compute(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
        found: Tensor = Saliency(model).attribute(images.requires_grad_(), target, abs=True)
        return found[:, : subject.preprocess.channels].amax(dim=1) / subject.preprocess.std

    return _attributed(subject, "saliency", compute, False, "score per unit of ink")


def integrated_gradients(subject: Subject) -> Attribution:
    """Return what each pixel adds to the score on the way from blank paper to the picture.

    All pixels together add what the picture's score is above that of the paper.

    Source: Sundararajan, Taly, Yan 2017, "Axiomatic attribution for deep networks",
    arXiv:1703.01365.
    """

    def compute(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
        paper = zeros_like_paper(images, subject.preprocess)
        found: Tensor = IntegratedGradients(model).attribute(
            images, paper, target, n_steps=STEPS, internal_batch_size=AT_ONCE
        )
        return found.sum(dim=1)

    return _attributed(subject, "integrated_gradients", compute, True, "score")


def occlusion(subject: Subject) -> Attribution:
    """Return how much the score falls when a square of paper covers a place.

    The square is a seventh of the side wide and moves by half its width; each pixel gets the mean
    over the squares that cover it.

    Source: Zeiler, Fergus 2013, "Visualizing and understanding convolutional networks",
    arXiv:1311.2901, section 4.2.
    """
    channels, size = subject.preprocess.channels, subject.preprocess.size
    side = max(2, size // 7)

    def compute(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
        planes = images[:, channels:]

        def score(covered: Tensor) -> Tensor:
            times = len(covered) // len(images)
            scores: Tensor = model(torch.cat([covered, planes.repeat(times, 1, 1, 1)], dim=1))
            return scores

        found: Tensor = Occlusion(score).attribute(
            images[:, :channels],
            sliding_window_shapes=(channels, side, side),
            strides=(channels, side // 2, side // 2),
            baselines=zeros_like_paper(images, subject.preprocess)[:, :channels],
            target=target,
            perturbations_per_eval=max(1, AT_ONCE // len(images)),
        )
        return found.mean(dim=1)

    return _attributed(subject, "occlusion", compute, True, "score")


def _attributed(
    subject: Subject,
    method: str,
    compute: Callable[[nn.Module, Tensor, Tensor], Tensor],
    signed: bool,
    unit: str,
) -> Attribution:
    shown: Pictures = subject.pictures(4)
    target = logits(subject, shown.images).argmax(dim=1)
    found = compute(subject.model, subject.seen(shown.images), target.clone())
    chosen = target.cpu().numpy()
    return Attribution(
        method=method,
        names=shown.names,
        pictures=ink(shown, subject.preprocess),
        target=chosen,
        answers=tuple(subject.classes[label] for label in chosen),
        values=found.detach().cpu().numpy(),
        signed=signed,
        unit=unit,
    )

"""A classifier with scikit-learn's interface."""

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y

from siglum.errors import ConfigError, DataError
from siglum.recogniser import predict
from siglum.recogniser.bundle import Samples
from siglum.recogniser.fit import fit
from siglum.recogniser.head import Floats

NEARLY_BLACK = 16  # levels: scikit-learn's digits end there, 0 and 1 before


class SignClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Few-shot classifier of images of single characters or signs.

    Images are (N, H, W), (N, H, W, 3), or flattened squares (N, H * H), with levels from 0 to 255,
    or from 0 to 1 in floats, or booleans.

    Args:
        use_fonts: whether labels that are characters start from what fonts show.
    """

    def __init__(self, use_fonts: bool = False) -> None:
        self.use_fonts = use_fonts

    def fit(self, X: ArrayLike, y: ArrayLike) -> "SignClassifier":  # noqa: N803
        """Fit prototypes to images and their labels; images without ink are not used."""
        images, y = check_X_y(X, y, allow_nd=True)
        check_classification_targets(y)
        self.n_features_in_ = int(np.prod(images.shape[1:]))
        self.classes_ = unique_labels(y)
        if len(self.classes_) < 2:
            raise ConfigError("y must have two or more classes, got 1 class.")
        planes, positions = _preprocess(images)
        inked = planes.any(axis=(1, 2, 3))
        labels = np.searchsorted(self.classes_, y)[inked]
        if not inked.any():
            raise DataError(f"No ink found in X: n_features={self.n_features_in_}, all blank.")
        if blank := int((~inked).sum()):
            text = f"{blank} of {len(images):,} images have no ink and are not used."
            warnings.warn(text, stacklevel=2)
        backbone = predict.default_backbone()
        names = [str(label) if self.use_fonts else f"class {label}" for label in self.classes_]
        samples = Samples(planes[inked, 0], labels, positions[inked])
        self.recogniser_ = fit(backbone, names, samples).recogniser
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Return calibrated probabilities (N, K), in the order of `classes_`."""
        check_is_fitted(self)
        images = check_array(X, allow_nd=True)
        if (width := int(np.prod(images.shape[1:]))) != self.n_features_in_:
            if images.size == self.n_features_in_:
                raise ConfigError(f"X is one image {images.shape}. Pass X[None].")
            expected = f"SignClassifier is expecting {self.n_features_in_} features as input"
            raise ConfigError(f"X has {width} features, but {expected}.")
        return self.recogniser_.predict_arrays(*_preprocess(images)).probs

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Return the most probable label of each image."""
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = tags.input_tags.positive_only = True
        return tags


def _preprocess(images: NDArray[Any]) -> tuple[NDArray[np.uint8], Floats]:
    if images.ndim == 2:
        side = math.isqrt(images.shape[1])
        if side * side != images.shape[1]:
            shape = images.shape
            raise ConfigError(f"X must be images (N, H, W) or flattened squares, got {shape}.")
        images = images.reshape(-1, side, side)
    if images.min(initial=0) < 0 or (largest := images.max(initial=0)) > 255:
        raise ConfigError("Negative values in data or above 255: X must be grey levels, or 0 to 1.")
    if images.dtype.kind in "bf" and largest <= 1:
        images = 255 * images
    elif 0 < largest <= NEARLY_BLACK:
        rule = "Levels of X must be 0 to 255, or 0 to 1 in floats"
        warnings.warn(f"{rule}, the largest is {largest:g}. Rescale them.", stacklevel=3)
    preprocess = predict.default_backbone().preprocess
    return predict.stack(predict.preprocess_images(list(images.astype(np.uint8)), preprocess))

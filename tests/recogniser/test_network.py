"""onnxruntime computes what the arithmetic says, whatever the number of pictures."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from small_bundles import PREPROCESS, SIZE, by_hand, linear, network, pictures

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.recogniser import onnx as networks
from siglum.recogniser.onnx import Network, standardise


def refusal(model, preprocess: Preprocess = PREPROCESS) -> str:
    with pytest.raises(DataError) as error:
        Network(model.SerializeToString(), preprocess)
    return str(error.value)


def test_a_linear_network_is_its_matrix() -> None:
    images = pictures(20)

    found = Network(linear().SerializeToString(), PREPROCESS).run(images)

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(images), rtol=1e-5, atol=1e-5)


def test_batches_do_not_change_the_outcome() -> None:
    """More pictures than go into one batch."""
    opened = Network(linear().SerializeToString(), PREPROCESS)
    images = pictures(networks.BATCH_VALUES // SIZE**2 + 10)

    whole = opened.run(images)

    assert len(whole) == len(images)
    np.testing.assert_allclose(whole[-20:], opened.run(images[-20:]), rtol=1e-5, atol=1e-5)


def test_pictures_become_what_the_preprocess_says() -> None:
    images = pictures()

    found = standardise(images, PREPROCESS)

    assert found.dtype == np.float32 and found.shape == images.shape
    np.testing.assert_allclose(found, (images / 255 - 0.25) / 0.5, rtol=1e-6, atol=1e-6)


def test_planes_of_place_reach_from_minus_two_to_two() -> None:
    preprocess = Preprocess(size=SIZE, resize="glyph", position_channels=True, mean=0.3, std=0.2)
    images = np.zeros((1, 4, SIZE, SIZE), np.uint8)
    images[:, 1], images[:, 3] = 255, 51

    found = standardise(images, preprocess)[0, :, 0, 0]

    np.testing.assert_allclose(found, [-0.3 / 0.2, 2, -2, -1.2], rtol=1e-6)


def test_another_input_than_the_preprocess_makes_is_refused() -> None:
    assert refusal(linear(), Preprocess(size=9)) == (
        "model.onnx must take float32 pictures ['N', 1, 9, 9] and nothing else, got "
        "[('tensor(float)', ['n', 1, 8, 8])]."
    )
    fixed = linear()
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    assert "and nothing else, got [('tensor(float)', [2, 1, 8, 8])]." in refusal(fixed)
    two = linear()
    two.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    assert "('tensor(float)', [1])]." in refusal(two)


def test_more_than_one_output_is_refused() -> None:
    model = linear()
    model.graph.output.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["n", 64]))

    assert refusal(model) == (
        "model.onnx must give float32 [N, D] and nothing else, got "
        "[('tensor(float)', ['n', 3]), ('tensor(float)', ['n', 64])]."
    )


def test_a_network_that_does_not_hold_together_is_refused() -> None:
    model = network([helper.make_node("Relu", ["nowhere"], ["logits"])], {})

    assert refusal(model).startswith("model.onnx must be a network that onnxruntime ")


def test_a_network_that_fails_on_pictures_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["logits"]),
    ]
    opened = Network(
        network(nodes, {"shape": np.array([5, 7], "i8")}).SerializeToString(), PREPROCESS
    )

    with pytest.raises(DataError, match=r"^model\.onnx must compute 3 pictures, got "):
        opened.run(pictures())
    assert capfd.readouterr().err == ""

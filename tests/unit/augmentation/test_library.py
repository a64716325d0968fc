"""albumentations by name: old argument names are errors that say the new one, and boxes move with the pixels."""

import warnings

import numpy as np
import pytest

from sap_llm.augmentation.geometry import boxes_to_quads, quads_to_boxes
from sap_llm.augmentation.library import TransformPipeline, build_transform, roadmap_steps
from sap_llm.schema.errors import ConfigurationError


@pytest.mark.parametrize(
    ("name", "arguments", "successor"),
    [
        ("GaussNoise", {"var_limit": (10.0, 50.0)}, "std_range"),
        ("ImageCompression", {"quality_lower": 50, "quality_upper": 100}, "quality_range"),
        ("Downscale", {"scale_min": 0.7, "scale_max": 0.9}, "scale_range"),
        ("Posterize", {"num_bits": 4, "always_apply": True}, "p=1"),
        ("ToGray", {"channels": 1}, "num_output_channels"),
    ],
)
def test_arguments_that_would_be_ignored_are_errors_with_their_successor(
    name: str, arguments: dict[str, object], successor: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        build_transform(name, **arguments, p=0.3)
    assert successor in raised.value.remedy
    assert any(argument in raised.value.what for argument in arguments)
    assert "silently ignore" in raised.value.what


def test_names_and_values_that_albumentations_refuses_are_errors() -> None:
    with pytest.raises(ConfigurationError, match="no transform 'GaussianNoise'"):
        build_transform("GaussianNoise")
    with pytest.raises(ConfigurationError, match="no transform 'Compose'"):
        build_transform("Compose", transforms=[])
    with pytest.raises(ConfigurationError, match="refuses a value"):
        build_transform("ImageCompression", quality_range=(50, 1000))


def test_the_roadmap_s_list_is_built_without_a_warning_of_ignored_arguments() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        steps = [build_transform(**step) for step in roadmap_steps()]
    assert len(steps) == 10
    assert not [one for one in caught if "not valid" in str(one.message)]
    assert steps[2].std_range == pytest.approx((0.0124, 0.0277))
    assert tuple(steps[6].quality_range) == (50, 100)
    assert tuple(steps[7].scale_range) == (0.7, 0.9)


@pytest.mark.parametrize("channels", [1, 3])
def test_quads_move_with_the_pixels(channels: int) -> None:
    box = np.array([[120, 200, 260, 240]])
    picture = np.full((500, 400) if channels == 1 else (500, 400, 3), 255, dtype=np.uint8)
    x0, y0, x1, y1 = box[0]
    picture[y0:y1, x0:x1] = 0
    rotate = TransformPipeline([{"name": "Rotate", "limit": (8, 8), "fill": 255, "p": 1.0}], seed=3)
    turned, quads = rotate(picture, boxes_to_quads(box))
    rows, columns = np.nonzero((turned if channels == 1 else turned[..., 0]) < 128)
    found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert turned.shape == picture.shape
    assert np.abs(quads_to_boxes(quads)[0] - found).max() < 1.5
    assert not np.array_equal(found, box[0])

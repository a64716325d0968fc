"""Pictures of pages: sizes are those of the model's own processor, boxes come back within half a pixel."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sap_llm.modeling.generative.frame import Frame, page_picture, resized
from sap_llm.modeling.qwen import QwenShape
from sap_llm.schema.page import Page

sides = st.floats(min_value=30, max_value=2000)
pixels = st.integers(min_value=1, max_value=200).map(lambda count: count * 28)
shares = st.tuples(*[st.floats(min_value=0, max_value=1)] * 4)


def page_of(width: float, height: float) -> Page:
    boxes = np.array([[10, 20, 60, 32]], dtype=np.float32)
    return Page(
        page_number=1, width=width, height=height, words=["Rechnung"], boxes=boxes, lines=np.zeros(1, np.int32),
        reader="text_layer",
    )  # fmt: skip


@given(sides, sides, pixels, pixels, shares)
def test_a_box_on_the_page_comes_back_within_half_a_pixel(
    page_width: float, page_height: float, width: int, height: int, share: tuple[float, ...]
) -> None:
    frame = Frame(page_width=page_width, page_height=page_height, width=width, height=height)
    box = [part * side for part, side in zip(share, (page_width, page_height) * 2, strict=True)]
    back = frame.to_points(frame.to_pixels(box))
    for edge, again, side, count in zip(box, back, (page_width, page_height) * 2, (width, height) * 2, strict=True):
        assert abs(edge - again) <= 0.5 * side / count + 1e-6 * side


@given(pixels, pixels, st.tuples(*[st.integers(min_value=0, max_value=5600)] * 4))
def test_pixels_inside_the_picture_survive_points(width: int, height: int, box: tuple[int, ...]) -> None:
    frame = Frame(page_width=595.0, page_height=842.0, width=width, height=height)
    inside = tuple(min(edge, limit) for edge, limit in zip(box, (width, height) * 2, strict=True))
    assert frame.to_pixels(frame.to_points(inside)) == inside


@given(st.tuples(*[st.floats(min_value=-1e4, max_value=1e4)] * 4))
def test_what_lies_beside_the_page_is_moved_to_its_edge(box: tuple[float, ...]) -> None:
    frame = Frame(page_width=595.0, page_height=842.0, width=280, height=392)
    assert all(0 <= edge <= limit for edge, limit in zip(frame.to_pixels(box), (280, 392) * 2, strict=True))


@settings(max_examples=25, deadline=None)
@given(
    st.floats(min_value=60, max_value=1500),
    st.floats(min_value=60, max_value=1500),
    st.integers(min_value=16, max_value=300),
    st.booleans(),
)
def test_the_models_processor_leaves_a_picture_as_it_is(width: float, height: float, most: int, is_file: bool) -> None:
    from transformers import Qwen2VLImageProcessorPil

    shape = QwenShape(min_pixels=4 * 28 * 28, max_pixels=most * 28 * 28)
    content = None
    if is_file:
        stream = io.BytesIO()
        Image.new("L", (round(width), round(height)), 200).save(stream, format="PNG")
        content = stream.getvalue()
    picture = page_picture(page_of(width, height), shape, content)
    assert picture.mode == "RGB"
    assert resized(*picture.size, shape) == picture.size
    processor: Any = Qwen2VLImageProcessorPil(min_pixels=shape.min_pixels, max_pixels=shape.max_pixels)
    grid = processor(images=[picture], return_tensors="np")["image_grid_thw"][0]
    assert (grid[2] * 14, grid[1] * 14) == picture.size


def test_words_are_drawn_where_there_is_no_file() -> None:
    shape = QwenShape(max_pixels=200 * 28 * 28)
    page = page_of(300.0, 400.0)
    picture = page_picture(page, shape)
    x0, y0, x1, y1 = Frame.of(page, picture).to_pixels(page.boxes[0].tolist())
    gray = np.asarray(picture.convert("L"))
    assert gray[y0:y1, x0:x1].min() < 200
    assert gray[y1 + 5 :].min() > 250


def test_a_strip_is_refused() -> None:
    with pytest.raises(ValueError, match="aspect ratio"):
        resized(20_000, 50, QwenShape())

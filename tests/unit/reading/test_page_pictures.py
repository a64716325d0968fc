"""Pages of PDFs and picture files as PNG, drawn in the sandbox: what people see at the annotation desk."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from sap_llm.reading.sandbox import Sandbox
from sap_llm.schema.errors import UnreadableDocumentError
from tests.support.typeset_corpus import typeset_pdf


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as opened:
        yield opened


def picture(form: str, *, size: tuple[int, int] = (600, 900), frames: int = 1, **more: object) -> bytes:
    stream = io.BytesIO()
    pages = [Image.new("RGB", size, (250 - 40 * number, 240, 230)) for number in range(frames)]
    rest = {"save_all": True, "append_images": pages[1:]} if frames > 1 else {}
    pages[0].save(stream, form, **rest, **more)
    return stream.getvalue()


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    return image


def test_a_page_of_a_pdf_has_the_pixels_that_were_asked_for(sandbox: Sandbox) -> None:
    content, _ = typeset_pdf(1)
    assert opened(sandbox.render(content, 1, 100 / 72)).size == pytest.approx((827, 1170), abs=1)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_a_picture_file_is_shown_and_never_enlarged(sandbox: Sandbox, form: str) -> None:
    content = picture(form)
    assert opened(sandbox.render(content, 1, 10.0)).size == (600, 900)
    assert opened(sandbox.render(content, 1, 0.5)).size[0] < 600


def test_a_turned_photograph_is_upright(sandbox: Sandbox) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: a quarter to the right
    assert opened(sandbox.render(picture("JPEG", exif=turned), 1, 10.0)).size == (900, 600)


def test_each_frame_is_a_page(sandbox: Sandbox) -> None:
    content = picture("TIFF", frames=2)
    first, second = (opened(sandbox.render(content, number, 10.0)).convert("RGB") for number in (1, 2))
    assert first.getpixel((5, 5)) != second.getpixel((5, 5))
    with pytest.raises(UnreadableDocumentError, match="no page 3"):
        sandbox.render(content, 3)


def test_a_text_has_no_page_to_show(sandbox: Sandbox) -> None:
    with pytest.raises(UnreadableDocumentError, match="no page to show"):
        sandbox.render(b"Invoice 4711\nTotal 5.00 EUR\n")

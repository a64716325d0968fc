"""What the model is shown: pages, their words where wanted, cases like it, and the instruction.

Belongs here: one conversation for training and inference. Instructions themselves are `instructions`, pictures are
`frame`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sap_llm.modeling.generative.frame import Frame
from sap_llm.schema.page import Page

_SYSTEM = (
    "You read business documents. Answer with one JSON object. Values are canonical: dates as YYYY-MM-DD, amounts as "
    "plain decimals. Boxes are x0, y0, x1, y1 in pixels of the page's picture. Say null for what is not there."
)


class PromptConfig(BaseModel):
    """How documents are shown; saved with the model, so that it is asked as it was taught."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    evidence: Literal["image", "image_and_words"] = Field(
        default="image_and_words", description="picture of each page alone, or also its words line by line"
    )
    most_pages: int = Field(default=4, ge=1, description="shown of one document")
    most_words: int = Field(default=1500, ge=0, description="of one document, where words are shown")
    case_words: int = Field(default=300, ge=0, description="of each similar case")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A document read before, as an example.

    Attributes:
        text: Its words, see `Page.text`.
        answer: What was right, as JSON without places.
    """

    text: str
    answer: str


def conversation(
    text: str, pages: Sequence[Page], frames: Sequence[Frame], config: PromptConfig, *, cases: Sequence[Case] = ()
) -> list[dict[str, Any]]:
    """Messages that ask about a document, in the form of transformers' chat templates; a picture for every frame.

    Args:
        text: The instruction.
        pages: Of the document, in order.
        frames: Of the pages shown.
        config: How.
        cases: Similar documents with what was right of them, most similar first.
    """
    parts: list[dict[str, Any]] = []
    for number, case in enumerate(cases, start=1):
        words = " ".join(case.text.split(" ")[: config.case_words])
        parts.append(_text(f"Similar document {number}:\n{words}\nAnswer: {case.answer}\n\n"))
    left = config.most_words
    for page, frame in zip(pages, frames, strict=False):
        parts.append({"type": "image"})
        header = f"Page {page.page_number}, {frame.width} x {frame.height} pixels.\n"
        words = lines_of(page, frame, most_words=left) if config.evidence == "image_and_words" else ""
        left = max(0, left - len(page.words))
        parts.append(_text(header + words))
    parts.append(_text(text))
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": parts}]


def lines_of(page: Page, frame: Frame, *, most_words: int) -> str:
    """The words of a page, each visual line behind its box in pixels: `12,40,310,52 Invoice No. 4711`."""
    rows: dict[int, list[int]] = {}
    for place, line in enumerate(page.lines[:most_words].tolist()):
        rows.setdefault(line, []).append(place)
    return "".join(
        f"{','.join(map(str, frame.to_pixels(page.union(ids))))} {' '.join(page.words[place] for place in ids)}\n"
        for ids in rows.values()
    )


def plain(text: str) -> str:
    """Text of a document with nothing left that the tokenizer would take for a mark of its own, such as <|im_end|>."""
    return text.replace("<|", "< |")


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": plain(text)}

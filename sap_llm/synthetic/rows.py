"""Rows of the corpus tables for one generated document.

What the rows of both tiers share, and turning marks and words of the typeset tier into annotations, belongs here;
typesetting does not (`typeset`), nor the truth of the volume tier (`volume.truth`), nor writing datasets (`stage`).
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from sap_llm.schema.page import Page
from sap_llm.synthetic.markup import Mark
from sap_llm.synthetic.typeset import Typeset

Row = dict[str, Any]


def corpus_rows(
    fact: Mapping[str, Any],
    *,
    lines: list[Row],
    marks: list[Mark],
    done: Typeset,
    layout: str,
    is_test: bool,
    language: str,
) -> dict[str, list[Row]]:
    """Rows by table name for one document.

    Every printed mention of a field is one entry of `fields`; the first entry of a field is its main mention.
    """
    sha256 = hashlib.sha256(done.content).hexdigest()
    mentions = _mentions(marks, done)
    return tables_of(
        fact,
        document=document_row(
            fact, layout=layout, is_test=is_test, language=language, page_count=len(done.pages), sha256=sha256
        ),
        pages=[page.to_row(fact["document_id"]) for page in done.pages],
        truth={
            "fields": _header_fields(mentions),
            "line_items": _line_items(mentions, lines, done),
            "tables": _tables(mentions, done),
            "layout_blocks": _blocks(mentions, done),
        },
        content=done.content,
    )


def document_row(
    fact: Mapping[str, Any], *, layout: str, is_test: bool, language: str, page_count: int, sha256: str
) -> Row:
    """The row of `documents` of a generated document, of whichever tier."""
    return {
        "document_id": fact["document_id"],
        "source": "synthetic",
        "role": "train",
        "document_type": fact["document_type"],
        "document_subtype": fact["document_subtype"],
        "language": language,
        "page_count": page_count,
        "quality": 1.0,
        "sha256": sha256,
        "media_type": "application/pdf",
        "world": fact["world"],
        "vendor": fact["vendor"],
        "chain": fact["chain"],
        "layout": layout,
        "is_test_layout": is_test,
        "split_group": fact["world"],
        "licence": "Apache-2.0",
        "event_time": fact["event_time"],
        "ingest_time": None,
    }


def tables_of(
    fact: Mapping[str, Any], *, document: Row, pages: list[Row], truth: Mapping[str, list[Row]], content: bytes
) -> dict[str, list[Row]]:
    """All rows of one document; `truth` has the lists of its annotation."""
    annotation = {
        "document_id": fact["document_id"],
        "annotator": "truth",
        "revision": 1,
        "source": "synthetic",
        "created_at": fact["event_time"],
        "document_type": fact["document_type"],
        "document_subtype": fact["document_subtype"],
        "type_confidence": 1.0,
        **truth,
    }
    return {
        "documents": [document],
        "pages": pages,
        "annotations": [annotation],
        "blobs": [{"sha256": document["sha256"], "media_type": "application/pdf", "content": content}],
        "quarantine": [],
    }


class _Mention:
    """One mark on one page with its words."""

    def __init__(self, mark: Mark, page: Page, words: list[int]) -> None:
        self.mark, self.page, self.words = mark, page, words

    @property
    def text(self) -> str:
        return " ".join(self.page.words[index] for index in self.words)

    @property
    def box(self) -> list[float]:
        return self.page.union(self.words)

    def entry(self) -> Row:
        return {
            "field": self.mark.field,
            "value": self.mark.value,
            "printed": self.text,
            "page": self.page.page_number,
            "box": self.box,
            "word_ids": self.words,
            "confidence": 1.0,
            "source": "synthetic",
        }


def _mentions(marks: list[Mark], done: Typeset) -> list[_Mention]:
    pages = {page.page_number: page for page in done.pages}
    return [_Mention(marks[mark], pages[page], words) for (mark, page), words in sorted(done.words.items())]


def _header_fields(mentions: list[_Mention]) -> list[Row]:
    shown = [mention for mention in mentions if mention.mark.field and mention.mark.line < 0]
    return [mention.entry() for mention in shown]


def _line_items(mentions: list[_Mention], lines: list[Row], done: Typeset) -> list[Row]:
    pages = {page.page_number: page for page in done.pages}
    found: list[Row] = []
    for index, line in enumerate(lines):
        shown = [mention for mention in mentions if mention.mark.line == index and mention.mark.field]
        if not shown:
            continue
        page = shown[0].page
        words = [word for mention in shown if mention.page is page for word in mention.words]
        found.append(
            {
                "line_number": line["number"],
                "page": page.page_number,
                "box": pages[page.page_number].union(words),
                "fields": [mention.entry() for mention in shown],
            }
        )
    return found


def _tables(mentions: list[_Mention], done: Typeset) -> list[Row]:
    found = []
    for page in done.pages:
        cells: dict[tuple[float, int], list[int]] = {}
        for mention in mentions:
            if mention.page is page and mention.mark.row >= 0:
                cells.setdefault((mention.mark.row, mention.mark.column), []).extend(mention.words)
        if not cells:
            continue
        rows = {row: position for position, row in enumerate(sorted({row for row, _ in cells}))}
        found.append(
            {
                "page": page.page_number,
                "box": page.union([word for words in cells.values() for word in words]),
                "rows": len(rows),
                "columns": max(column for _, column in cells) + 1,
                "cells": [
                    {
                        "row": rows[row],
                        "column": column,
                        "row_span": 1,
                        "column_span": 1,
                        "text": " ".join(page.words[word] for word in sorted(set(words))),
                        "word_ids": sorted(set(words)),
                    }
                    for (row, column), words in sorted(cells.items())
                ],
            }
        )
    return found


def _blocks(mentions: list[_Mention], done: Typeset) -> list[Row]:
    found = [
        {"page": mention.page.page_number, "kind": mention.mark.kind, "box": mention.box, "word_ids": mention.words}
        for mention in mentions
        if mention.mark.kind
    ]
    for page in done.pages:
        words = sorted(
            {word for mention in mentions if mention.page is page and mention.mark.row >= 0 for word in mention.words}
        )
        if words:
            found.append({"page": page.page_number, "kind": "table", "box": page.union(words), "word_ids": words})
    return found

"""Invoices, orders and receipts of goods as words on a page, with truth, small enough to be learned in seconds.

Belongs here: the corpus tables and the dataset versions that tests of training and compression consume. The product's
generator is `sap_llm.synthetic`; these pages only need to be learnable.
"""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from sap_llm.modeling.shards import SHARD_SCHEMA, encode_shard
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.releases import TRAINING_DOCUMENTS
from sap_llm.schema.tables import ANNOTATIONS, PAGES, conform
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.multitask import MULTITASK_MODEL
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.stage import Launch, build_trained, make_plan

TITLES = {
    "PURCHASE_ORDER": "Purchase order",
    "SUPPLIER_INVOICE": "Invoice",
    "GOODS_RECEIPT": "Goods receipt",
}
PAGES_INPUT, ANNOTATED, TRAINING_SET = "synthetic_docs/0000-0001", "annotated_docs/r1", "training_set/r1"
_COLUMNS = (
    "document_id source role document_type language sha256 media_type layout is_test_layout split_group licence input "
    "has_truth split"
)
DOCUMENTS = pa.schema([TRAINING_DOCUMENTS.field(name) for name in _COLUMNS.split()])


class Writer:
    """Puts words on a page line by line and remembers which field they are."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.boxes: list[list[float]] = []
        self.lines: list[int] = []
        self.line, self.top = 0, 40.0

    def put(self, text: str, x: float) -> list[int]:
        """Write words from x on; returns their indices."""
        ids = []
        for word in text.split():
            ids.append(len(self.words))
            self.words.append(word)
            self.boxes.append([x, self.top, x + 6 * len(word), self.top + 10])
            self.lines.append(self.line)
            x += 6 * len(word) + 4
        return ids

    def field(self, name: str, text: str, x: float) -> dict[str, Any]:
        """Write a value; returns it as `tables.FIELD`."""
        ids = self.put(text, x)
        x0, y0 = (min(self.boxes[place][edge] for place in ids) for edge in (0, 1))
        x1, y1 = (max(self.boxes[place][edge] for place in ids) for edge in (2, 3))
        return {
            "field": name,
            "value": text,
            "printed": text,
            "page": 1,
            "box": [x0, y0, x1, y1],
            "word_ids": ids,
            "confidence": 1.0,
            "source": "synthetic",
        }

    def feed(self, points: float = 14.0) -> None:
        """Next line."""
        self.line += 1
        self.top += points


def toy_tables(count: int, *, seed: int = 0) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Documents, pages and annotations; every fifth document validates."""
    generator = random.Random(seed)
    made = [_toy_document(f"doc-{seed}-{number}", number, generator) for number in range(count)]
    documents = pa.Table.from_pylist([entry["document"] for entry in made], schema=DOCUMENTS)
    pages = conform([entry["page"] for entry in made], PAGES)
    return documents, pages, conform([entry["annotation"] for entry in made], ANNOTATIONS)


def toy_training_set(context: StageContext, count: int, *, seed: int = 0) -> DatasetRef:
    """A training set in the store, with the datasets that it was made from."""
    documents, pages, annotations = toy_tables(count, seed=seed)
    source = _dataset(context, PAGES_INPUT, {"pages": (pages, PAGES)}, {}, seed)
    truth = _dataset(context, ANNOTATED, {"annotations": (annotations, ANNOTATIONS)}, {}, seed)
    tables = {
        "documents": (documents, DOCUMENTS),
        "shards": (encode_shard(documents, pages, annotations), SHARD_SCHEMA),
    }
    return _dataset(context, TRAINING_SET, tables, {PAGES_INPUT: source, ANNOTATED: truth}, seed)


def planned(
    context: StageContext, config: MultitaskModelConfig, training_set: DatasetRef, *, work: Path | None = None
) -> TrainingPlan[MultitaskModelConfig]:
    """The plan of the document model from one training set."""
    inputs = {TRAINING_SET.partition("/")[0]: training_set}
    return make_plan(context, MULTITASK_MODEL, config=config, inputs=inputs, partition="r1", work=work)


def plan_in(folder: Path, **launch: object) -> TrainingPlan[MultitaskModelConfig]:
    """A plan of one's own making, whose training set is not there."""
    config = MultitaskModelConfig.model_validate({"launch": launch})
    return TrainingPlan(
        stage="multitask_model",
        name="multitask_model/r1",
        version="v1",
        inputs={"training_set": DatasetRef(name="training_set/r1", version="v1")},
        folders={"training_set": str(folder / "absent")},
        work=str(folder / "work"),
        backend="gloo",
        backend_reason="as configured",
        taxonomy_version="1",
        config=config,
    )


def _dataset(
    context: StageContext,
    name: str,
    tables: Mapping[str, tuple[pa.Table, pa.Schema]],
    inputs: Mapping[str, DatasetRef],
    seed: int,
) -> DatasetRef:
    def produce(writer: Any) -> dict[str, Any]:
        for table, (data, schema) in tables.items():
            writer.write_table(table, data, schema)
        return {}

    return build(
        context, name=name, stage_version="toy", config=StageConfig(seed=seed), inputs=inputs, produce=produce
    ).ref


def _toy_document(document_id: str, number: int, generator: random.Random) -> dict[str, Any]:
    kind = generator.choice(sorted(TITLES))
    page = Writer()
    page.put(TITLES[kind], 220)
    page.feed(30)
    maker = f"{generator.choice('Alpha Beta Gamma Delta'.split())}{generator.randint(1, 99)} GmbH"
    fields = [page.field("seller_name", maker, 40)]
    page.feed()
    page.put(generator.choice(["No.", "Number:", "Nr."]), 300)
    fields.append(page.field("document_number", f"{generator.choice('XYZ')}-{generator.randint(10000, 99999)}", 380))
    page.feed()
    page.put("Date", 300)
    day = f"2025-{generator.randint(1, 12):02}-{generator.randint(1, 28):02}"
    fields.append(page.field("document_date", day, 380))
    page.feed(30)
    items, total = [], 0
    for row in range(generator.randint(1, 5)):
        quantity, price = generator.randint(2, 9), generator.randint(100, 9999)
        total += quantity * price
        cells = [
            page.field("line_number", str(row + 1), 40),
            page.field("line_description", f"Widget {generator.choice('ABC')}{generator.randint(1, 99)}", 80),
            page.field("line_quantity", str(quantity), 300),
            page.field("line_unit_price", f"{price / 100:.2f}", 360),
            page.field("line_net_amount", f"{quantity * price / 100:.2f}", 450),
        ]
        items.append({"line_number": row + 1, "page": 1, "box": None, "fields": cells})
        page.feed()
    page.feed()
    page.put("Total", 360)
    fields.append(page.field("total_amount", f"{total / 100:.2f}", 450))
    return {
        "document": {
            "document_id": document_id,
            "source": "synthetic",
            "role": "train",
            "document_type": kind,
            "language": "en",
            "sha256": document_id,
            "media_type": "application/pdf",
            "layout": "toy",
            "is_test_layout": False,
            "split_group": document_id,
            "licence": "Apache-2.0",
            "input": PAGES_INPUT,
            "has_truth": True,
            "split": "validation" if number % 5 == 0 else "train",
        },
        "page": {
            "document_id": document_id,
            "page_number": 1,
            "width": 595.0,
            "height": 842.0,
            "words": page.words,
            "boxes": page.boxes,
            "lines": page.lines,
            "reader": "typeset",
            "quality": 1.0,
        },
        "annotation": {
            "document_id": document_id,
            "annotator": "truth",
            "revision": 1,
            "source": "synthetic",
            "document_type": kind,
            "document_subtype": None,
            "type_confidence": 1.0,
            "fields": fields,
            "line_items": items,
            "tables": [],
            "layout_blocks": [],
        },
    }


def build_multitask_model(
    context: StageContext,
    *,
    config: MultitaskModelConfig,
    training_set: DatasetRef,
    release: str,
    work: Path | None = None,
    launch: Launch | None = None,
) -> BuildResult:
    """The trained model as a dataset: `model/` (weights, config.json) and `losses.json`; see `build_trained`."""
    inputs = {"training_set": training_set}
    return build_trained(
        context, MULTITASK_MODEL, config=config, inputs=inputs, partition=release, work=work, launch=launch
    )

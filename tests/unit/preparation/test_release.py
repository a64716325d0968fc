"""A corpus release freezes references and shows how far the corpus is from its target."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from sap_llm.preparation.composition import chart, gaps, report
from sap_llm.preparation.release import build_corpus_release
from sap_llm.schema.errors import SapLlmError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageConfig, build
from sap_llm.storage.store import DatasetWriter
from tests.support.prepared import TARGETS, Prepared


def test_the_release_freezes_every_reference(prepared: Prepared, corpora: dict[str, DatasetRef]) -> None:
    inputs = prepared.release.manifest.inputs
    assert inputs == {"annotated_docs/r1": prepared.annotated.ref, **corpora}


def test_shares_are_shown_beside_their_targets(prepared: Prepared) -> None:
    metrics = prepared.release.manifest.metrics
    assert metrics["documents"] == 76
    assert metrics["source_share_public_docs"] == pytest.approx(6 / 76, abs=1e-4)
    assert metrics["source_target_public_docs"] == 0.5
    kinds = [name for name in metrics if name.startswith("type_share_")]
    assert sum(metrics[name] for name in kinds) == pytest.approx(1, abs=1e-3)
    assert metrics["largest_gap_to_target"] == pytest.approx(0.5 - 6 / 76, abs=1e-4)
    assert metrics["lacking_public_docs"] == 5000 - 6
    assert metrics["sap_texts"] == 0


def test_the_report_says_the_gaps_in_words_and_draws_them(prepared: Prepared) -> None:
    text = prepared.release.path("report.md").read_text()
    assert "| public_docs | 5,000 | 6 | 50.0% | 7.9% | 4,994 |" in text
    assert "public docs lack 4,994 documents, 32 of them at the present size" in text
    assert "Synthetic docs lack 4,930 documents, though their share is met" in text
    assert "![target (gray) and actual (blue) shares](composition.svg)" in text
    drawing = etree.fromstring(prepared.release.path("composition.svg").read_bytes())
    bars = drawing.findall("{*}rect")
    assert len(bars) == 1 + 2 * 5  # the ground, and two for each of two sources and three classes


def test_gaps_are_said_as_people_would() -> None:
    found = {
        gap.name: gap for gap in gaps({"SALES_ORDER": 3200, "OTHERS": 100}, {"SALES_ORDER": 80, "OTHERS": 100, "X": 2})
    }
    assert found["SALES_ORDER"].said("documents") == (
        "sales orders lack 3,120 documents, 96 of them at the present size"
    )
    assert found["OTHERS"].said("documents") == "others are complete"
    assert found["X"].said("documents") == "xs: 2 documents, none asked for"


@given(
    goals=st.dictionaries(st.text("abc", min_size=1), st.integers(0, 10**6), max_size=5),
    counts=st.dictionaries(st.text("abc", min_size=1), st.integers(0, 10**6), max_size=5),
)
def test_nothing_that_is_wanted_or_there_is_left_out(goals: dict[str, int], counts: dict[str, int]) -> None:
    found = gaps(goals, counts)
    assert {gap.name for gap in found} == goals.keys() | counts.keys()
    assert sum(gap.actual for gap in found) == sum(counts.values())
    assert all(gap.actual + gap.lacking >= gap.goal for gap in found)
    etree.fromstring(chart(found))
    assert report("t", [("h", found, "documents")]).startswith("# t")


def test_texts_of_sap_are_counted_beside_the_documents(prepared: Prepared, corpora: dict[str, DatasetRef]) -> None:
    knowledge = _knowledge(prepared)
    built = build_corpus_release(
        prepared.context,
        config=TARGETS.model_copy(update={"target_texts": 10}),
        annotated=prepared.annotated.ref,
        corpora=corpora,
        release="r3",
        knowledge=knowledge,
    )
    assert built.manifest.metrics["sap_texts"] == 3
    assert "sap documentation texts lack 7 texts" in built.dataset.path("report.md").read_text().lower()
    assert knowledge not in built.manifest.inputs.values()  # nobody takes pages from it


def _knowledge(prepared: Prepared) -> DatasetRef:
    table = pa.table({"text": ["a", "b", "c"]})

    def produce(writer: DatasetWriter) -> dict[str, object]:
        writer.write_table("corpus", table, table.schema)
        return {}

    return build(prepared.context, name="sap_knowledge", stage_version="1", config=StageConfig(), produce=produce).ref


def test_documents_of_a_corpus_that_was_not_passed_are_refused(
    prepared: Prepared, corpora: dict[str, DatasetRef]
) -> None:
    some = {name: ref for name, ref in corpora.items() if name.startswith("public")}
    with pytest.raises(SapLlmError, match="synthetic_docs/0000-0001, which the release does not hold"):
        build_corpus_release(
            prepared.context, config=TARGETS, annotated=prepared.annotated.ref, corpora=some, release="r2"
        )

"""The QorSync export with graph patterns: every planted fault is found, every other document keeps its company."""

from pathlib import Path

import pytest

from sap_llm.graph.client import GraphClient
from sap_llm.sources.qorsync import QorSync, RawExportsConfig, build_raw_exports
from sap_llm.sources.qorsync_seed import seed_qorsync
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from tests.support.typeset_corpus import typeset_corpus

pytestmark = pytest.mark.slow


def test_patterns_give_company_and_template_and_find_unknown_vendors(tmp_path: Path, graph: GraphClient) -> None:
    context = StageContext(store=DatasetStore(tmp_path / "store"))
    original = typeset_corpus(context, documents=8)
    seeded = seed_qorsync(tmp_path / "qorsync", dataset=original, graph=graph)
    seed_qorsync(tmp_path / "qorsync", dataset=original, graph=graph)  # seeding again changes nothing
    built = build_raw_exports(
        context,
        config=RawExportsConfig(),
        source=QorSync(
            relational=str(seeded.relational),
            documents=str(seeded.documents),
            blobs=str(seeded.blobs),
            graph=graph,
            first_month="2025-01",
            work=tmp_path / "work",
        ),
        month="2025-01",
    )
    reasons = built.dataset.table("quarantine").column("reason").to_pylist()
    assert {reason: reasons.count(reason) for reason in reasons} == seeded.planted
    assert set(seeded.planted) == {"missing_blob", "duplicate", "bad_json", "dangling_reference", "no_header"}
    documents = built.dataset.table("documents").to_pylist()
    assert len(documents) + len(reasons) == seeded.headers + 1  # one extraction has no header
    by_file = {row["sha256"]: row for row in original.table("documents").to_pylist()}
    for row in documents:
        true = by_file[row["sha256"]]
        columns = ("document_type", "world", "split_group", "layout", "is_test_layout", "chain", "event_time", "vendor")
        assert {name: row[name] for name in columns} == {name: true[name] for name in columns}

"""`python -m tests.support.export_process STORE WORK RELATIONAL DOCUMENTS BLOBS`: one export, to be killed."""

import sys
from pathlib import Path

from sap_llm.sources.qorsync import QorSync, RawExportsConfig, build_raw_exports
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from tests.support.qorsync_source import MONTH

CONFIG = RawExportsConfig(chunk_rows=20, batch_rows=10, backoff_seconds=0.05)


def main(store: str, work: str, relational: str, documents: str, blobs: str) -> None:
    """Export the month."""
    source = QorSync(
        relational=relational, documents=documents, blobs=blobs, graph=None, first_month="2025-01", work=Path(work)
    )
    context = StageContext(store=DatasetStore(store))
    build_raw_exports(context, config=CONFIG, source=source, month=MONTH)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""`python -m tests.support.send_process STORE ANNOTATED DESK TOKEN RELEASE`: one sending, to be killed."""

import sys
from pathlib import Path

from sap_llm.annotation.desk import Desk
from sap_llm.annotation.file_desk import FileDesk
from sap_llm.annotation.label_studio_desk import LabelStudioDesk
from sap_llm.annotation.sending import SendingConfig, send
from sap_llm.reading.pdf import render_page
from sap_llm.schema.annotation import TASKS
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import conform
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore


def draw(content: bytes, page_number: int = 1, scale: float = 1.0, *, name: str = "document") -> bytes:
    """Files of our own making need no sandbox."""
    return render_page(content, name=name, page_number=page_number, scale=scale)


def main(store: str, annotated: str, place: str, token: str, release: str) -> None:
    """Send every document, two at a time."""
    context = StageContext(store=DatasetStore(store))
    ref = DatasetRef.parse(annotated)
    rows = context.store.open(ref).table("documents", columns=["document_id", "input"]).to_pylist()
    about = {"queue": "annotators", "purpose": "flagged", "annotators": 1, "priority": 1.0}
    desk: Desk = LabelStudioDesk(place, token=token) if "://" in place else FileDesk(Path(place))
    config = SendingConfig(batch_tasks=2, picture_dpi=72)
    print("ready", flush=True)
    sys.stdin.readline()
    tasks = conform([row | about for row in rows], TASKS)
    send(context, desk=desk, tasks=tasks, annotated=ref, release=release, config=config, render=draw)


if __name__ == "__main__":
    main(*sys.argv[1:])

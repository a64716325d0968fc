"""Synthetic documents as plain files: a PDF and its annotation JSON each, and an index over all.

Writing, resuming and refusing a folder of other contents belongs here; which documents are wanted does not (`request`),
nor the form of the JSON (`schema.document`). Every file appears whole under its name or not at all, and the index
comes last: a folder with an index is complete.
"""

import hashlib
import json
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sap_llm.schema.document import DocumentForm
from sap_llm.schema.taxonomy import taxonomy_version
from sap_llm.storage.build import Progress, silent
from sap_llm.storage.whole import write_whole
from sap_llm.synthetic import facts as facts_stage
from sap_llm.synthetic import stage as documents_stage
from sap_llm.synthetic.claimed_folder import claim, writable
from sap_llm.synthetic.request import FactRow, Request, wanted_facts
from sap_llm.synthetic.rows import Row
from sap_llm.synthetic.stage import SyntheticDocsConfig, make_document
from sap_llm.synthetic.workers import in_order

INDEX = "index.jsonl"
_REFUSED_AT_LEAST = 50  # documents that may fail before the generator is taken for broken; about 1 % do


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a run did: documents made now, documents that were there, and facts that no page could show."""

    made: int
    kept: int
    refused: int


@dataclass(frozen=True, kw_only=True)
class _Document:
    """One document on its way from a worker to the folder; without content where its files are there already."""

    form: DocumentForm
    content: bytes | None


def write_documents(folder: Path, request: Request, *, count: int, progress: Progress = silent) -> Written:
    """Write `<document id>.pdf` and `.json` for the first `count` documents of a request, then `index.jsonl`.

    A run that was stopped is continued by the same call and ends with the same files. A fact that cannot be typeset is
    left out and the next one takes its place.

    Raises:
        ConfigurationError: The folder cannot be written, or holds something else.
    """
    with writable(folder):
        claim(folder, _asked(request, count))
        entries: list[Row] = []
        made = refused = 0
        work = partial(_document, config=request.documents, folder=folder)
        with closing(in_order(work, wanted_facts(request), workers=request.documents.workers)) as documents:
            for document in documents:
                if document is None:
                    refused += 1
                    if refused > _REFUSED_AT_LEAST + len(entries):
                        raise RuntimeError(f"{refused} documents could not be typeset, {len(entries)} could")
                    continue
                if document.content is not None:
                    _save(folder, document)
                    made += 1
                entries.append(_entry(document.form))
                progress("documents", done=len(entries), total=count)
                if len(entries) == count:
                    break
        lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries]
        write_whole(folder / INDEX, "".join(lines).encode())
    return Written(made=made, kept=count - made, refused=refused)


def _asked(request: Request, count: int) -> str:
    """What the folder is for."""
    return json.dumps(
        {
            "count": count,
            "code": f"{facts_stage.STAGE_VERSION}+{documents_stage.STAGE_VERSION}",
            "taxonomy": taxonomy_version(),
            "request": request.model_dump(mode="json", exclude={"documents": {"workers"}}),
        },
        indent=2,
    )


def _document(fact: FactRow, *, config: SyntheticDocsConfig, folder: Path) -> _Document | None:
    """The document of a fact, from the folder if it is there; None where it cannot be typeset (runs in a worker)."""
    form = _kept(folder, fact["document_id"])
    if form is not None:
        return _Document(form=form, content=None)
    rows = make_document(fact, config)
    if rows.get("quarantine"):
        return None
    return _Document(form=truth_form(rows), content=rows["blobs"][0]["content"])


def _kept(folder: Path, document_id: str) -> DocumentForm | None:
    """The truth of a document whose two files are there and belong together."""
    try:
        form = DocumentForm.model_validate_json((folder / f"{document_id}.json").read_bytes())
        content = (folder / f"{document_id}.pdf").read_bytes()
    except (FileNotFoundError, ValidationError):
        return None
    return form if hashlib.sha256(content).hexdigest() == form.metadata.get("sha256") else None


def truth_form(rows: dict[str, list[Row]]) -> DocumentForm:
    """The annotation JSON of one document's corpus rows, as `sap-llm extract --json` prints that of a prediction."""
    (document,), (annotation,) = rows["documents"], rows["annotations"]
    about: dict[str, Any] = {"file": f"{document['document_id']}.pdf"}
    about |= {name: document[name] for name in ("sha256", "world", "chain", "vendor", "layout", "is_test_layout")}
    return DocumentForm.from_row(
        annotation,
        page_sizes=[(page["width"], page["height"]) for page in rows["pages"]],
        language=document["language"],
        metadata=about,
    )


def _entry(form: DocumentForm) -> Row:
    about = form.metadata
    return {
        "document_id": form.document_id,
        "file": about["file"],
        "annotation": f"{form.document_id}.json",
        "document_type": form.document_type,
        "document_subtype": form.document_subtype,
        "language": form.language,
        "pages": len(form.pages),
    } | {name: about[name] for name in ("sha256", "world", "chain", "vendor", "layout", "is_test_layout")}


def _save(folder: Path, document: _Document) -> None:
    assert document.content is not None
    text = json.dumps(document.form.model_dump(mode="json"), indent=2, ensure_ascii=False)
    write_whole(folder / f"{document.form.document_id}.pdf", document.content)
    write_whole(folder / f"{document.form.document_id}.json", text.encode())

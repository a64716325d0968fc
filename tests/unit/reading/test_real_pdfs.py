"""Every real PDF at hand is read without fault, through the sandbox, as by the reader itself."""

from pathlib import Path

import pytest

from sap_llm.reading.document import read_document
from sap_llm.reading.sandbox import Sandbox

CORPORA = {"zugferd-corpus": 59, "order-x": 20, "invoice2data": 8, "sap-dox-invoices": 2}


@pytest.mark.slow
@pytest.mark.parametrize("corpus", CORPORA)
def test_all_are_read(shared_data: Path, corpus: str) -> None:
    files = sorted((shared_data / corpus).rglob("*.pdf"))
    assert len(files) == CORPORA[corpus]
    languages = set()
    with Sandbox() as sandbox:
        for path in files:
            read = sandbox.read(path.read_bytes(), name=path.name)
            languages.add(read.language)
            assert [page.reader for page in read.pages] == ["text_layer"] * len(read.pages), path.name
            assert read.quality > 0.95, path.name
            assert all(word and not word.isspace() for page in read.pages for word in page.words)
            assert all((page.lines[1:] >= page.lines[:-1]).all() for page in read.pages)
    assert None not in languages
    direct = read_document(files[0].read_bytes(), name=files[0].name)
    with Sandbox() as sandbox:
        assert sandbox.read(files[0].read_bytes(), name="x").pages[0].words == direct.pages[0].words

"""The endless stream of documents: its order, its division among workers, and going on after a stop or a kill."""

import json
import os
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from sap_llm.schema.errors import ConfigurationError
from sap_llm.synthetic.facts import BusinessFactsConfig
from sap_llm.synthetic.request import Request
from sap_llm.synthetic.stage import SyntheticDocsConfig
from sap_llm.synthetic.stream import DocumentStream

REQUEST = Request(
    facts=BusinessFactsConfig(seed=4, chains_per_world=2, lines_max=5),
    documents=SyntheticDocsConfig(
        seed=4, workers=1, test_layout_share=0.1, untitled_share=0.2, foreign_language_share=0.1, tier="volume",
        volume_share=1.0,
    ),
    document_types=("SUPPLIER_INVOICE", "PURCHASE_ORDER"),
)  # fmt: skip


def ids(stream: DocumentStream, count: int) -> list[str]:
    return [rows["documents"][0]["document_id"] for rows in islice(stream, count)]


def test_a_stream_goes_on_where_its_state_was_taken() -> None:
    whole = ids(DocumentStream(REQUEST), 30)
    for taken in (1, 7, 19):
        first = DocumentStream(REQUEST)
        begun = ids(first, taken)
        second = DocumentStream(REQUEST)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert begun + ids(second, 30 - taken) == whole


def test_workers_share_the_documents_without_overlap() -> None:
    parts = [ids(DocumentStream(REQUEST, worker=worker, workers=3), 20) for worker in range(3)]
    assert len({one for part in parts for one in part}) == 60
    single = ids(DocumentStream(REQUEST), 60)
    assert {one for part in parts for one in part[:5]} <= set(single)


def test_the_state_of_another_worker_is_refused() -> None:
    state = DocumentStream(REQUEST, worker=1, workers=2).state_dict()
    with pytest.raises(ConfigurationError, match="worker 1 of 2"):
        DocumentStream(REQUEST).load_state_dict(state)
    with pytest.raises(ConfigurationError):
        DocumentStream(REQUEST, worker=2, workers=2)


@pytest.mark.slow
def test_a_killed_reader_continues_from_its_last_saved_state(tmp_path: Path) -> None:
    program = (
        "import json, sys\n"
        "from tests.unit.synthetic.test_stream import REQUEST\n"
        "from sap_llm.synthetic.stream import DocumentStream\n"
        "stream = DocumentStream(REQUEST)\n"
        "for rows in stream:\n"
        "    print(json.dumps([rows['documents'][0]['document_id'], stream.state_dict()]), flush=True)\n"
    )
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert process.stdout is not None
    seen = [json.loads(process.stdout.readline()) for _ in range(9)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    resumed = DocumentStream(REQUEST)
    resumed.load_state_dict(seen[-1][1])
    assert [one for one, _ in seen] + ids(resumed, 6) == ids(DocumentStream(REQUEST), 15)


@pytest.mark.slow
def test_a_data_loader_gives_each_worker_its_own_worlds() -> None:
    from torch.utils.data import DataLoader

    from sap_llm.synthetic.loader import Documents

    loader = DataLoader(Documents(REQUEST), batch_size=None, num_workers=2, multiprocessing_context="spawn")
    found = [rows["documents"][0]["document_id"] for rows in islice(loader, 12)]
    parts = [ids(DocumentStream(REQUEST, worker=worker, workers=2), 6) for worker in range(2)]
    assert found == [one for pair in zip(*parts, strict=True) for one in pair]

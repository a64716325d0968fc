"""The stream of documents as a dataset of PyTorch.

Telling a data loader's worker which documents are its own belongs here, and nothing else: this module imports torch, so
only those who train import it. The stream itself is `stream`.
"""

from collections.abc import Iterator

from torch.utils.data import IterableDataset, get_worker_info

from sap_llm.synthetic.request import Request
from sap_llm.synthetic.rows import Row
from sap_llm.synthetic.stream import DocumentStream


class Documents(IterableDataset[dict[str, list[Row]]]):
    """For `torch.utils.data.DataLoader` with `batch_size=None`; each worker makes its own worlds."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def __iter__(self) -> Iterator[dict[str, list[Row]]]:
        """The worker's documents without end."""
        about = get_worker_info()
        worker, workers = (about.id, about.num_workers) if about else (0, 1)
        return iter(DocumentStream(self.request, worker=worker, workers=workers))

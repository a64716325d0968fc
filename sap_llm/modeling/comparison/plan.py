"""What the measuring program is told and what it answers, importable without torch.

Belongs here: the two forms that go through files between stage and program. Measuring is `measure`.
"""

from pydantic import BaseModel, ConfigDict

from sap_llm.modeling.comparison.candidates import Candidate


class MeasurePlan(BaseModel):
    """What the program is told.

    Attributes:
        candidates: In the order of measuring.
        pages: File with a list of documents, each a list of rows of `tables.PAGES`, as JSON.
        pictures: npz file with uint8 arrays [height, width] in order, gray first pages; None where there are none.
        texts: What tokenizers are trained on.
        rounds: The best of so many counts for each document.
        most_tokens: Tokens that a writer writes for a page.
        threads: Of torch.
        device: Of torch.
        seed: Of the weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidates: tuple[Candidate, ...]
    pages: str
    pictures: str | None
    texts: tuple[str, ...]
    rounds: int
    most_tokens: int
    threads: int
    device: str
    seed: int


class Measured(BaseModel):
    """One candidate on all documents of the sample; milliseconds a document, one document at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency_p50_ms: float
    latency_p95_ms: float
    latency_mean_ms: float
    peak_bytes: int
    """Beyond the imported libraries: weights, activations and buffers at their most."""

"""What the measuring program is told and what it answers, importable without torch.

Belongs here: the two forms that go through files between stage and program. Measuring is `measure`.
"""

from pydantic import BaseModel, ConfigDict

from sap_llm.modeling.comparison.candidates import Candidate
from sap_llm.modeling.comparison.languages import Coverage


class MeasurePlan(BaseModel):
    """What the program is told.

    Attributes:
        candidates: All of them: their parameters are counted, and their languages looked at.
        run: Keys of those that are measured.
        pages: File with a list of documents, each a list of rows of `tables.PAGES`, as JSON.
        pictures: npz file with uint8 arrays [height, width] in order, gray first pages; None where there are none.
        texts: What tokenizers are trained on.
        words: Of real pages, by language.
        tokenizers: Candidate name -> tokenizer.json of a checkpoint that is here.
        rounds: The best of so many counts for each document.
        most_tokens: Tokens that a writer writes for a page.
        threads: Of torch.
        device: Of torch.
        seed: Of the weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidates: tuple[Candidate, ...]
    run: tuple[str, ...]
    pages: str
    pictures: str | None
    texts: tuple[str, ...]
    words: dict[str, tuple[str, ...]]
    tokenizers: dict[str, str]
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


class Answer(BaseModel):
    """All that the program found out, by candidate's name, figures by its key.

    Attributes:
        figures: None of a candidate that wants pictures where there are none.
        parameters: Counted.
        coverages: By language; empty where the candidate's tokenizer is not here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    figures: dict[str, Measured | None]
    parameters: dict[str, int]
    coverages: dict[str, dict[str, Coverage]]

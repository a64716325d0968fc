"""What triage costs beside reading: the router against the compact encoder, one document at a time.

Both get the same generated documents as pages and work from words to their scores; the encoder has the tiny shape.
Weights are blank and random, for neither's time depends on them. Costs are CPU milliseconds on one thread, whole passes
in turns.
"""

import time
from collections.abc import Callable, Sequence
from itertools import islice

import torch

from benchmarks.measure import Measure, lower_is_better
from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.backbones.doc_router import DocRouter, blank_weights
from sap_llm.modeling.backbones.shapes import RouterShape
from sap_llm.modeling.folder import ModelConfig
from sap_llm.modeling.heads import MultitaskModel
from sap_llm.modeling.labels import default_labels
from sap_llm.modeling.predictor import EncoderPredictor
from sap_llm.modeling.torch_runtime import TorchRuntime
from sap_llm.schema.page import Page
from sap_llm.synthetic.facts import BusinessFactsConfig
from sap_llm.synthetic.request import Request
from sap_llm.synthetic.stage import SyntheticDocsConfig
from sap_llm.synthetic.stream import DocumentStream

RUNS = 5
DOCUMENTS = 60


def run() -> dict[str, Measure]:
    """CPU milliseconds a document on both sides: all documents seen before, and each for the first time."""
    torch.set_num_threads(1)
    pages = _documents()
    shape, labels = EncoderConfig(size="tiny"), default_labels()
    network = TorchRuntime(MultitaskModel(shape, labels).eval())
    config = ModelConfig(taxonomy_version="", backbone=shape, labels=labels.to_json())
    triage = RouterShape(size="tiny")
    weights = blank_weights(triage, classes=len(labels.classes))

    def routed() -> Callable[[Sequence[Page]], object]:
        return DocRouter(triage, labels.classes, weights).route

    def read() -> Callable[[Sequence[Page]], object]:
        predictor = EncoderPredictor(config, network)
        return lambda own: predictor.score([own])

    return {
        "words_seen_before": _duel(pages, routed, read, is_warm=True),
        "new_words": _duel(pages, routed, read, is_warm=False),
    }


Opened = Callable[[], Callable[[Sequence[Page]], object]]


def _duel(pages: Sequence[Sequence[Page]], ours: Opened, rival: Opened, *, is_warm: bool) -> Measure:
    best = [float("inf"), float("inf")]
    for _ in range(RUNS):
        for side, opened in enumerate((ours, rival)):
            call = opened()
            for own in pages if is_warm else ():
                call(own)
            began = time.process_time()
            for own in pages:
                call(own)
            best[side] = min(best[side], (time.process_time() - began) * 1000.0 / len(pages))
    print(f"router {best[0]:.3f} ms, compact encoder {best[1]:.3f} ms a document, the fastest of {RUNS}")
    return lower_is_better(
        ours=best[0], rival=best[1], rival_name="compact encoder, tiny", unit="CPU ms a document", runs=RUNS
    )


def _documents() -> list[list[Page]]:
    request = Request(
        facts=BusinessFactsConfig(seed=3, chains_per_world=3, lines_max=12),
        documents=SyntheticDocsConfig(
            seed=3, workers=1, test_layout_share=0.0, untitled_share=0.1, foreign_language_share=0.1, tier="volume",
            volume_share=1.0,
        ),
    )  # fmt: skip
    made = islice(DocumentStream(request), DOCUMENTS)
    return [[Page.from_row(row) for row in rows["pages"]] for rows in made]

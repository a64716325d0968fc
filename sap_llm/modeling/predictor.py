"""The predictor of this project's own encoder: pages in, `Prediction` out, on any runtime.

Belongs here: windows and batches, putting window scores together, and calling the decoders. The network's arithmetic is
the runtime's (`torch_runtime`, `onnx_runtime`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.candidates import Scroll
from sap_llm.modeling.confidence import sigmoid, softmax
from sap_llm.modeling.decoding import decode_header
from sap_llm.modeling.features import PaddedWords, WordEncoder, WordFeatures, encode_words, pad, windows
from sap_llm.modeling.folder import ModelConfig
from sap_llm.modeling.further_fields import decode_further_fields
from sap_llm.modeling.labels import CORE_HEADER_FIELDS, VALUE_START, WORD_SCORES
from sap_llm.modeling.layout_decoding import decode_blocks
from sap_llm.modeling.line_items import decode_line_items
from sap_llm.modeling.normalise import manner_of
from sap_llm.modeling.protocol import Prediction, ReportProgress
from sap_llm.modeling.table_decoding import decode_tables
from sap_llm.schema.page import Page

Array = npt.NDArray[Any]
_BATCH_WORDS = 4096
_DOCUMENTS_AT_ONCE = 256  # scores of so many documents are held in memory


class Runtime(Protocol):
    """Scores a padded batch; result by the names of `heads.Scores`."""

    def __call__(self, batch: PaddedWords) -> dict[str, npt.NDArray[np.float32]]:
        """Score."""
        ...


class EncoderPredictor:
    """Implements `protocol.Predictor`."""

    def __init__(self, config: ModelConfig, runtime: Runtime) -> None:
        self.config, self._runtime = config, runtime
        self.labels = config.label_set
        # what is decoded by rules of its own, before the rest of the taxonomy
        self._core = replace(self.labels, header_fields=self.labels.header_fields[: len(CORE_HEADER_FIELDS)])
        self._encoder = WordEncoder()

    def predict(self, pages: Sequence[Page]) -> Prediction:
        """Read one document."""
        return self.predict_many([pages])[0]

    def predict_many(
        self, documents: Sequence[Sequence[Page]], progress: ReportProgress | None = None
    ) -> list[Prediction]:
        """Read many documents, batched by length; results in the order given."""
        results: list[Prediction] = []
        for start in range(0, len(documents), _DOCUMENTS_AT_ONCE):
            part = documents[start : start + _DOCUMENTS_AT_ONCE]
            for pages, scores in zip(part, self.score(part), strict=True):
                results.append(self.decode(pages, scores))
            if progress is not None:
                progress(len(results), len(documents))
        return results

    def score(self, documents: Sequence[Sequence[Page]]) -> list[dict[str, Array]]:
        """Raw scores of documents: `heads.Scores` without the batch axis, words of all pages together."""
        features = [encode_words(pages, self._encoder) for pages in documents]
        cuts = [windows(len(part)) for part in features]
        parts = [(document, cut) for document, own in enumerate(cuts) for cut in own]
        scored: dict[tuple[int, tuple[int, int]], dict[str, Array]] = {}
        for batch in _batches(parts):
            cut_features = [features[document].window(*cut) for document, cut in batch]
            scored.update(zip(batch, self._run(cut_features), strict=True))
        return [
            _together([scored[document, cut] for cut in own], own, len(part))
            for document, (own, part) in enumerate(zip(cuts, features, strict=True))
        ]

    def decode(self, pages: Sequence[Page], scores: dict[str, Array]) -> Prediction:
        """Turn the scores of one document into a prediction."""
        calibration = self.config.calibration
        classes = softmax(scores["document_class"], temperature=calibration.document_class)
        chosen = int(classes.argmax())
        scroll = Scroll.of(pages)
        manner = manner_of(scroll.words)
        likely = softmax(scores["header"], temperature=calibration.header)
        starts = sigmoid(scores["starts"])
        scroll = replace(scroll, begins=starts[:, VALUE_START])
        core = 1 + len(self._core.header_fields)
        fields = decode_header(pages, likely[:, :core], self._core, scroll=scroll, manner=manner)
        fields += decode_further_fields(pages, likely[:, core:], self.labels.header_fields[core - 1 :], scroll, manner)
        items = decode_line_items(
            pages,
            softmax(scores["line"], temperature=calibration.line),
            sigmoid(scores["row_start"]),
            self.labels,
            scroll=scroll,
            manner=manner,
        )
        return Prediction(
            document_type=self.labels.classes[chosen],
            document_subtype=self._subtype(scores["subtype"], chosen),
            type_confidence=float(classes[chosen]),
            fields=fields,
            line_items=items,
            tables=decode_tables(pages, sigmoid(scores["table"]), starts, scroll=scroll),
            blocks=decode_blocks(pages, softmax(scores["block"]), starts, scroll=scroll),
            class_probabilities={name: float(value) for name, value in zip(self.labels.classes, classes, strict=True)},
            vector=np.asarray(scores["vector"], dtype=np.float32),
        )

    def _subtype(self, scores: Array, chosen: int) -> str | None:
        span = self.labels.subtype_ranges().get(chosen)
        if span is None:
            return None
        return self.labels.subtypes[span[0] + int(scores[span[0] : span[1]].argmax())][1]

    def _run(self, parts: Sequence[WordFeatures]) -> Iterator[dict[str, Array]]:
        scores = self._runtime(pad(parts))
        for row, part in enumerate(parts):
            words = max(1, len(part))
            yield {name: value[row, :words] if name in WORD_SCORES else value[row] for name, value in scores.items()}


def _batches(parts: Sequence[tuple[int, tuple[int, int]]]) -> Iterator[list[tuple[int, tuple[int, int]]]]:
    """Windows of like length together, at most `_BATCH_WORDS` padded words each."""
    batch: list[tuple[int, tuple[int, int]]] = []
    for part in sorted(parts, key=lambda entry: entry[1][1] - entry[1][0]):
        length = max(1, part[1][1] - part[1][0])
        if batch and length * (len(batch) + 1) > _BATCH_WORDS:
            yield batch
            batch = []
        batch.append(part)
    if batch:
        yield batch


def _together(parts: Sequence[dict[str, Array]], cuts: Sequence[tuple[int, int]], words: int) -> dict[str, Array]:
    """Scores of a document: each word from the window in which it stands farthest from an edge."""
    joined = dict(parts[0])
    if words == 0:
        return {name: value[:0] if name in WORD_SCORES else value for name, value in joined.items()}
    if len(parts) == 1:
        return joined
    places = np.arange(words)
    margins = np.full((len(cuts), words), -1, dtype=np.int64)
    for row, (start, stop) in enumerate(cuts):
        left = np.where(start == 0, words, places - start)  # the document's own edge is no edge
        right = np.where(stop == words, words, stop - 1 - places)
        inside = (places >= start) & (places < stop)
        margins[row] = np.where(inside, np.minimum(left, right), -1)
    best = margins.argmax(axis=0)
    for name in WORD_SCORES:
        rows = np.zeros((words, *parts[0][name].shape[1:]), dtype=np.float32)
        for index, (start, _) in enumerate(cuts):
            own = places[best == index]
            rows[own] = parts[index][name][own - start]
        joined[name] = rows
    return joined

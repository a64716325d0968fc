"""Arrow schemas of the release datasets: what the corpus tables gain on the way to a model and its scores.

Belongs here: columns that annotation, preparation and evaluation add for each other. The corpus itself is `tables`; the
form in which training reads words is `modeling.shards`.

`input` names the input dataset (`synthetic_docs/0000-0049`) that holds a document's pages and blobs.
"""

import pyarrow as pa

from sap_llm.schema.tables import DOCUMENTS, TIMESTAMP

TRUTH_SOURCES: tuple[str, ...] = ("human", "synthetic", "xml", "export")
"""Values of `annotations.source` that a model may be compared with, most trusted first."""

ANNOTATED_DOCUMENTS = pa.schema(
    [
        *DOCUMENTS,
        pa.field("input", pa.string(), nullable=False),
        pa.field("has_truth", pa.bool_(), nullable=False),
        pa.field("truth_source", pa.string()),  # one of TRUTH_SOURCES
        pa.field("confidence", pa.float32()),  # of the pre-annotation, 0..1; null when it has none
        pa.field("is_flagged", pa.bool_(), nullable=False),  # the pre-annotation wants a person's eye
    ]
)
"""Table `documents` of `annotated_docs`."""

RELEASE_DOCUMENTS = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("input", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("document_type", pa.string(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("has_truth", pa.bool_(), nullable=False),
    ]
)
"""Table `documents` of `corpus_release`: what was frozen, without its content."""

FIELD_TRUTH = pa.schema(
    [
        pa.field("field", pa.string(), nullable=False),
        pa.field("level", pa.string(), nullable=False),  # header | line
        pa.field("train_documents", pa.int64(), nullable=False),  # that show it with words; 0: no model learns it
        pa.field("train_words", pa.int64(), nullable=False),
    ]
)
"""Table `field_truth` of `training_set`: every field of the taxonomy."""

SUSPECTS = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("input", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # class | field
        pa.field("field", pa.string()),  # null for a class
        pa.field("label", pa.string(), nullable=False),  # what the truth says
        pa.field("suggested", pa.string(), nullable=False),  # what it probably should be
        pa.field("score", pa.float32(), nullable=False),  # of a class its margin, of a field the reading's confidence
    ]
)
"""Table `suspects` of `corpus_release`: labels that are probably wrong, by kind and falling score."""

TEXT_FEATURES: tuple[pa.Field, ...] = (
    pa.field("text_sha256", pa.string(), nullable=False),  # of the normalised text
    pa.field("detected_language", pa.string()),  # ISO 639-1; null when no language has enough hits
    pa.field("word_count", pa.int64(), nullable=False),
    pa.field("character_count", pa.int64(), nullable=False),
    pa.field("digit_share", pa.float64(), nullable=False),  # of the characters without spaces
    pa.field("upper_share", pa.float64(), nullable=False),  # of the letters
    pa.field("amount_count", pa.int64(), nullable=False),
    pa.field("date_count", pa.int64(), nullable=False),
)
"""What the preparation finds out about a document's text."""

TEXT_NUMBERS: tuple[str, ...] = tuple(field.name for field in TEXT_FEATURES if not pa.types.is_string(field.type))
"""Names of those features that are numbers."""

TRAINING_DOCUMENTS = pa.schema(
    [
        *ANNOTATED_DOCUMENTS,
        pa.field("split", pa.string(), nullable=False),  # train | validation | test
        *TEXT_FEATURES,
    ]
)
"""Table `documents` of `training_set`."""

DUPLICATES = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("input", pa.string(), nullable=False),
        pa.field("kept_document_id", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # same_file | same_text | near_duplicate
    ]
)
"""Table `duplicates` of `training_set`; who stands for them was kept, or left out by sampling."""

LEFT_OUT = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("input", pa.string(), nullable=False),
        pa.field("document_type", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # class_quota
    ]
)
"""Table `left_out` of `training_set`: good documents that sampling did not take."""

EMBEDDINGS = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32()), nullable=False),
    ]
)
"""Table `embeddings` of `model_evaluation`."""

DOCUMENT_SCORES = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("test", pa.string(), nullable=False),  # as in scores
        pa.field("split_group", pa.string(), nullable=False),
        pa.field("document_type", pa.string(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("true_positives", pa.int64(), nullable=False),
        pa.field("false_positives", pa.int64(), nullable=False),
        pa.field("false_negatives", pa.int64(), nullable=False),
    ]
)
"""Table `document_scores` of `model_evaluation`: the model's header fields by document, normalised."""

SCORES = pa.schema(
    [
        pa.field("predictor", pa.string(), nullable=False),  # model | baseline
        pa.field("test", pa.string(), nullable=False),  # unseen_layouts | known_layouts | real | <source>
        pa.field("mode", pa.string(), nullable=False),  # normalised | strict | place
        pa.field("slice", pa.string(), nullable=False),  # all | field | type | language | source | group
        pa.field("name", pa.string(), nullable=False),
        pa.field("precision", pa.float64(), nullable=False),
        pa.field("recall", pa.float64(), nullable=False),
        pa.field("f1", pa.float64(), nullable=False),
        pa.field("support", pa.int64(), nullable=False),
        pa.field("evaluated_at", TIMESTAMP),
    ]
)
"""Table `scores` of `model_evaluation`."""

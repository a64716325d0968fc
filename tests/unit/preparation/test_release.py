"""A corpus release freezes references and shows how far the corpus is from its target."""

import pytest

from sap_llm.preparation.release import build_corpus_release
from sap_llm.schema.errors import SapLlmError
from sap_llm.schema.manifest import DatasetRef
from tests.support.prepared import TARGETS, Prepared


def test_the_release_freezes_every_reference(prepared: Prepared, corpora: dict[str, DatasetRef]) -> None:
    inputs = prepared.release.manifest.inputs
    assert inputs == {"annotated_docs/r1": prepared.annotated.ref, **corpora}


def test_shares_are_shown_beside_their_targets(prepared: Prepared) -> None:
    metrics = prepared.release.manifest.metrics
    assert metrics["documents"] == 76
    assert metrics["source_share_public_docs"] == pytest.approx(6 / 76, abs=1e-4)
    assert metrics["source_target_public_docs"] == 0.5
    kinds = [name for name in metrics if name.startswith("type_share_")]
    assert sum(metrics[name] for name in kinds) == pytest.approx(1, abs=1e-3)
    assert metrics["largest_gap_to_target"] == pytest.approx(0.5 - 6 / 76, abs=1e-4)


def test_documents_of_a_corpus_that_was_not_passed_are_refused(
    prepared: Prepared, corpora: dict[str, DatasetRef]
) -> None:
    some = {name: ref for name, ref in corpora.items() if name.startswith("public")}
    with pytest.raises(SapLlmError, match="synthetic_docs/0000-0001, which the release does not hold"):
        build_corpus_release(
            prepared.context, config=TARGETS, annotated=prepared.annotated.ref, corpora=some, release="r2"
        )

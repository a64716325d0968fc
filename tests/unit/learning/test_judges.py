"""A group of a suite is judged once for the same content, and again when anything that it rests on changes."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
from sap_llm.learning.judges import GatesConfig, judge_all
from sap_llm.preparation.suites.expectations import SuiteSettings
from sap_llm.registry.gates import GATES, SUITE
from sap_llm.registry.verdicts import VerdictStore
from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import Dataset, DatasetStore
from tests.support.altered import altered
from tests.support.toy_corpus import toy_document, write_corpus

NOW = datetime(2026, 5, 4, tzinfo=UTC)
CONFIG = GatesConfig(
    min_annotator_kappa=0,
    min_doubled_documents=1,
    min_class_accuracy=0,
    min_subtype_accuracy=0,
    min_field_f1=0,
    min_lead_over_baseline=0,
)
GROUPS = ("schema", "classes")


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "store"), clock=FrozenClock(NOW))


@pytest.fixture
def dataset(context: StageContext) -> Dataset:
    return _annotated(context, _corpus(context, "0000-0001"))


@pytest.fixture
def verdicts(tmp_path: Path) -> VerdictStore:
    return VerdictStore(tmp_path / "registry", clock=FrozenClock(NOW))


def _corpus(context: StageContext, name: str) -> dict[str, DatasetRef]:
    documents = [toy_document(f"judged {number}") for number in range(3)]
    return {f"synthetic_docs/{name}": write_corpus(context, f"synthetic_docs/{name}", documents)}


def _annotated(context: StageContext, corpora: dict[str, DatasetRef]) -> Dataset:
    return build_annotated_docs(context, config=AnnotatedDocsConfig(), corpora=corpora, release="r1").dataset


def _is_judged_anew(dataset: Dataset, verdicts: VerdictStore, config: GatesConfig = CONFIG) -> bool:
    """Whether judging writes pages again; they are removed before."""
    pages = Path(verdicts.files.root) / "data_docs"
    shutil.rmtree(pages, ignore_errors=True)
    found = judge_all(dataset, config=config, verdicts=verdicts, only=GROUPS)
    assert [verdict.gate for verdict in found] == list(GROUPS)
    assert all(verdict.passed for verdict in found)
    return pages.exists()


def test_every_group_of_every_dataset_is_a_gate_with_a_verdict(dataset: Dataset, verdicts: VerdictStore) -> None:
    found = judge_all(dataset, config=CONFIG, verdicts=verdicts)
    assert tuple(verdict.gate for verdict in found) == GATES["annotated_docs"]
    for verdict in found:
        assert verdicts.find(dataset.manifest.data_version, verdict.gate) == verdict
    assert set(SUITE) == {gate for name in ("annotated_docs", "corpus_release", "training_set") for gate in GATES[name]}


def test_the_same_content_is_judged_once(dataset: Dataset, verdicts: VerdictStore) -> None:
    assert _is_judged_anew(dataset, verdicts)
    assert not _is_judged_anew(dataset, verdicts)


def test_other_bounds_judge_anew(dataset: Dataset, verdicts: VerdictStore) -> None:
    other = CONFIG.model_copy(update={"suites": SuiteSettings(longest_value=7)})
    judge_all(dataset, config=CONFIG, verdicts=verdicts, only=["ranges"])
    (verdict,) = judge_all(dataset, config=other, verdicts=verdicts, only=["ranges"])
    assert not verdict.passed
    assert verdict.examples[0]["document_id"].startswith("doc-")


def test_other_inputs_judge_anew_although_the_data_version_is_the_same(
    context: StageContext, dataset: Dataset, verdicts: VerdictStore
) -> None:
    """Pages lie in the inputs; a data version of annotations does not cover them."""
    assert _is_judged_anew(dataset, verdicts)
    (ref,) = dataset.manifest.inputs.values()
    changed = altered(context, dataset.sibling(ref), "pages", lambda rows: rows[0].update(width=900.0))
    again = _annotated(context, {ref.name: changed.ref})
    assert again.manifest.data_version == dataset.manifest.data_version
    assert _is_judged_anew(again, verdicts)


def test_a_damaged_verdict_is_replaced(dataset: Dataset, verdicts: VerdictStore) -> None:
    assert _is_judged_anew(dataset, verdicts)
    file = Path(verdicts.files.root) / "verdicts" / dataset.manifest.data_version / "schema.json"
    file.write_text("{")
    assert _is_judged_anew(dataset, verdicts)
    assert verdicts.find(dataset.manifest.data_version, "schema") is not None

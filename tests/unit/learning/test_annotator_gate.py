"""The gate on answers of people opens on agreement beyond chance alone, never on figures that are undefined."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sap_llm.learning.judges import GatesConfig, judge_all
from sap_llm.registry.gates import ANNOTATOR_AGREEMENT, require_gates
from sap_llm.registry.verdicts import Verdict, VerdictStore
from sap_llm.schema.annotation import ANSWERS
from sap_llm.schema.errors import GateClosedError
from sap_llm.schema.tables import ANNOTATIONS
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.storage.store import Dataset, DatasetStore
from tests.support.people import answer, tables

CONFIGS = Path(__file__).parents[3] / "configs"


def _config(profile: str = "tiny") -> GatesConfig:
    return GatesConfig(**yaml.safe_load((CONFIGS / profile / "gates.yaml").read_text()))


def _batch(folder: Path, rows: list[dict[str, Any]]) -> Dataset:
    def produce(writer: Any) -> dict[str, Any]:
        for name, table, schema in zip(("annotations", "answers"), tables(rows), (ANNOTATIONS, ANSWERS), strict=True):
            writer.write_table(name, table, schema)
        return {}

    context = StageContext(store=DatasetStore(folder / "data"))
    return build(context, name="human_annotations/r1", stage_version="1", config=StageConfig(), produce=produce).dataset


def _judge(folder: Path, rows: list[dict[str, Any]]) -> Verdict:
    dataset = _batch(folder, rows)
    verdicts = VerdictStore(folder / "verdicts")
    (verdict,) = judge_all(dataset, config=_config(), verdicts=verdicts)
    assert verdict.gate == ANNOTATOR_AGREEMENT
    if verdict.passed:
        require_gates(verdicts, dataset, consumer="annotated_docs")
    else:
        with pytest.raises(GateClosedError, match="annotator_agreement"):
            require_gates(verdicts, dataset, consumer="annotated_docs")
    return verdict


def _answers(documents: int, *, wrong: int = 0, kinds: int = 2) -> list[dict[str, Any]]:
    """Two people on each document; bob errs on the total of the first `wrong` ones."""
    rows = []
    for number in range(documents):
        kind = ("SUPPLIER_INVOICE", "PURCHASE_ORDER")[number % kinds]
        rows.append(answer(f"d{number}", "ann", {"total_amount": str(number)}, kind=kind))
        total = "0.01" if number < wrong else f"{number}.00"
        rows.append(answer(f"d{number}", "bob", {"total_amount": total}, kind=kind))
    return rows


def test_agreement_opens_the_gate_and_says_its_figures(tmp_path: Path) -> None:
    verdict = _judge(tmp_path, _answers(40, wrong=2))
    assert verdict.passed
    assert verdict.measured["kappa_class"] == 1.0
    assert verdict.measured["kappa_fields"] == pytest.approx(0.9487, abs=1e-4)  # (40 * 38 - 38) / (40**2 - 38)
    assert "on 40 documents" in verdict.explanation


def test_disagreement_closes_it(tmp_path: Path) -> None:
    verdict = _judge(tmp_path, _answers(40, wrong=4))
    assert not verdict.passed
    assert "the kappa of fields is 0.898" in verdict.explanation
    assert "above 0.92" in verdict.explanation


def test_exactly_the_required_kappa_is_not_above_it(tmp_path: Path) -> None:
    dataset = _batch(tmp_path, _answers(25, wrong=1))
    config = _config().model_copy(update={"min_annotator_kappa": (25 * 24 - 24) / (25**2 - 24)})
    (verdict,) = judge_all(dataset, config=config, verdicts=VerdictStore(tmp_path / "verdicts"))
    assert not verdict.passed


def test_too_few_documents_say_how_many_are_missing(tmp_path: Path) -> None:
    verdict = _judge(tmp_path, _answers(7))
    assert not verdict.passed
    assert "only 7 documents, 3 more are needed" in verdict.explanation


def test_undefined_kappas_never_open_it(tmp_path: Path) -> None:
    verdict = _judge(tmp_path, _answers(40, kinds=1))
    assert not verdict.passed
    assert verdict.measured["kappa_class"] == "undefined"
    assert "the kappa of class is undefined: every pair of people gave one and the same answer" in verdict.explanation


def test_answers_that_nobody_shares_leave_it_closed(tmp_path: Path) -> None:
    verdict = _judge(tmp_path, [answer(f"d{number}", "ann", {"total_amount": "7"}) for number in range(40)])
    assert not verdict.passed
    assert "no two people share a document" in verdict.explanation
    assert "10 more are needed" in verdict.explanation


def test_few_documents_with_a_kappa_are_not_hidden_behind_many_without(tmp_path: Path) -> None:
    rows = _answers(40, kinds=1)
    for number, kind in ((40, "PURCHASE_ORDER"), (41, "SUPPLIER_INVOICE")):
        rows += [answer(f"d{number}", who, {"total_amount": str(number)}, kind=kind) for who in ("cyd", "dan")]
    verdict = _judge(tmp_path, rows)
    assert not verdict.passed
    assert "the kappa of class rests on 2 documents" in verdict.explanation


@pytest.mark.parametrize("profile", ["seconds", "tiny", "gpu", "cluster"])
def test_every_profile_asks_for_the_same_kappa(profile: str) -> None:
    assert _config(profile).min_annotator_kappa == 0.92

"""Feedback becomes pairs of one document, or is set aside with its reason."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.pmg.ingest import extraction_content
from sap_llm.pmg.snapshot import NODES
from sap_llm.rlhf.answers import CorrectionError, changed_places, corrected, values_of, verifiable_reward
from sap_llm.rlhf.pairs import MarginConfig, Reviewed, damaged, pairs_of
from sap_llm.rlhf.stage import PreferencePairsConfig, build_preference_pairs
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore

CONFIGS = Path(__file__).parents[3] / "configs"
MARGINS = MarginConfig(field_weights={"total_amount": 3.0}, business_weights={"RECEIPT": 2.0}, scale=0.25, most=2.0)
VALUES = {"document_number": "R-1", "document_date": "2026-05-01", "total_amount": "119.00", "tax_amount": "19.00"}


def _field(name: str, value: str) -> dict[str, Any]:
    return {"field": name, "value": value, "printed": value, "page": 1, "box": [1.0, 2.0, 3.0, 4.0], "confidence": 0.9}


def _content(document_type: str = "RECEIPT") -> str:
    return extraction_content(
        {
            "document_type": document_type,
            "document_subtype": None,
            "type_confidence": 0.8,
            "fields": [_field(name, value) for name, value in VALUES.items()],
            "line_items": [{"line_number": 2, "fields": [_field("line_quantity", "3")]}],
        }
    )


def _said(kind: str, user: str = "ana", **corrections: tuple[str | None, str | None]) -> dict[str, Any]:
    changes = {place: {"before": before, "after": after} for place, (before, after) in corrections.items()}
    return {"id": f"fb-{user}-{kind}", "kind": kind, "user_id": user, "corrections": json.dumps(changes)}


def _pairs(*feedback: Mapping[str, Any], copies: int = 2) -> list[Any]:
    reviewed = Reviewed(document_id="d", extraction_id="ex", content=_content(), feedback=feedback)
    return pairs_of(reviewed, margins=MARGINS, damaged_copies=copies, seed=7)


def test_a_correction_beats_the_extraction_as_it_was() -> None:
    (pair,) = _pairs(
        _said("correction", total_amount=("119.00", "118.00"), **{"line_items[2].line_quantity": ("3", "4")})
    )
    chosen, rejected = json.loads(pair.chosen), json.loads(pair.rejected)
    assert (chosen["total_amount"], rejected["total_amount"]) == ("118.00", "119.00")
    assert pair.places == ("line_items[2].line_quantity", "total_amount")
    assert pair.margin == pytest.approx(0.25 * (3 + 1) * 2)
    assert rejected == values_of(_content()), "no box or confidence tells which answer is which"


def test_an_approval_beats_copies_with_one_error_that_invents_nothing() -> None:
    pairs = _pairs(_said("approval"), copies=3)
    assert len({pair.rejected for pair in pairs}) == 3
    for pair in pairs:
        assert json.loads(pair.chosen) == values_of(_content())
        assert set(json.loads(pair.rejected).values()) <= set(json.loads(pair.chosen).values())
    assert _pairs(_said("approval"), copies=0) == []


def test_a_rejection_says_nothing_about_what_is_better() -> None:
    assert _pairs(_said("rejection")) == []


def test_the_newest_word_of_one_person_counts() -> None:
    pairs = _pairs(
        _said("correction", total_amount=("119.00", "1.00")), _said("correction", total_amount=("119.00", "2.00"))
    )
    assert [json.loads(pair.chosen)["total_amount"] for pair in pairs] == ["2.00"]


@pytest.mark.parametrize(
    ("feedback", "reason"),
    [
        ([_said("approval"), _said("rejection", "bo")], "people_disagree"),
        (
            [_said("correction", total_amount=(None, "1")), _said("correction", "bo", total_amount=(None, "2"))],
            "people_disagree",
        ),
        ([_said("correction", total_amount=("120.00", "1"))], "stale_before"),
        ([_said("correction", total_amount=(None, "119.00"))], "no_change"),
        ([_said("correction", no_such_field=(None, "1"))], "unknown_field"),
        ([_said("correction", line_quantity=(None, "1"))], "unknown_field"),
        ([_said("correction", document_type=("RECEIPT", "POEM"))], "unknown_class"),
    ],
)
def test_what_cannot_be_a_pair_says_why(feedback: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(CorrectionError) as caught:
        _pairs(*feedback)
    assert caught.value.reason == reason


@given(st.dictionaries(st.sampled_from(sorted(VALUES)), st.none() | st.text(min_size=1, max_size=5), min_size=1))
def test_a_correction_changes_exactly_what_it_names(after: dict[str, str | None]) -> None:
    values = values_of(_content())
    changes = {place: {"before": None, "after": value} for place, value in after.items() if value != values[place]}
    result = corrected(values, changes)
    assert changed_places(values, result) == sorted(changes)
    assert all(result.get(place) == change["after"] for place, change in changes.items())


@given(st.integers(0, 50), st.integers(0, 1000))
def test_damaged_copies_are_worse_by_the_verifiable_reward(copies: int, seed: int) -> None:
    values = values_of(_content())
    made = damaged(values, copies=copies, seed=str(seed))
    assert made == damaged(values, copies=copies, seed=str(seed))
    assert all(verifiable_reward(json.dumps(copy), values) < 1 for copy in made)


def test_the_verifiable_reward_prefers_neither_length_nor_silence() -> None:
    truth = {"a": "1", "b": "2"}
    right, half, long = json.dumps(truth), json.dumps({"a": "1"}), json.dumps(truth | {"c": "3", "d": "4"})
    assert verifiable_reward(right, truth) == 1
    assert verifiable_reward("{}", truth) == 0
    assert verifiable_reward("{}", {}) == 1
    assert verifiable_reward(right[:-1], truth) == verifiable_reward('["a"]', truth) == -1
    assert 0 < verifiable_reward(half, truth) < 1
    assert 0 < verifiable_reward(long, truth) < 1


class _Release:
    """A frozen memory and an evaluation, as the stages write them."""

    def __init__(self, folder: Path) -> None:
        self.context = StageContext(store=DatasetStore(folder))
        self.nodes: list[dict[str, str]] = []

    def add(self, number: int, *feedback: dict[str, Any], role: str = "train", content: str | None = None) -> None:
        document, extraction = f"d{number}", f"ex-{number:03}"
        self._node("Document", document, role=role, split_group=f"world-{number // 2}")
        self._node("Extraction", extraction, document_id=document, content=content or _content())
        for position, said in enumerate(feedback):
            own = {"extraction_id": extraction, "sequence": 10 * number + position}
            self._node("Feedback", f"{said['id']}-{number}", **(said | own))

    def build(self, *, evaluated: tuple[int, ...] = (), profile: str = "tiny") -> Any:
        schema = pa.schema([("document_id", pa.string()), ("split_group", pa.string())])
        documents = [{"document_id": f"d{number}", "split_group": f"world-{number // 2}"} for number in evaluated]
        return build_preference_pairs(
            self.context,
            config=PreferencePairsConfig.model_validate(
                yaml.safe_load((CONFIGS / profile / "preference_pairs.yaml").read_text())
            ),
            snapshot=self._dataset("pmg_snapshot/r1", "nodes", pa.Table.from_pylist(self.nodes, schema=NODES)),
            evaluation=self._dataset(
                "model_evaluation/r1", "documents", pa.Table.from_pylist(documents, schema=schema)
            ),
            release="r1",
        )

    def _node(self, label: str, identifier: str, /, **properties: Any) -> None:
        properties["id"] = identifier
        self.nodes.append({"label": label, "id": identifier, "properties": json.dumps(properties)})

    def _dataset(self, name: str, table: str, data: pa.Table) -> DatasetRef:
        def produce(writer: Any) -> dict[str, Any]:
            writer.write_table(table, data, data.schema)
            return {}

        identity = {"content": str(data.to_pylist())}
        made = build(
            self.context, name=name, stage_version="1", config=StageConfig(), fingerprint=identity, produce=produce
        )
        return made.ref


def test_every_reviewed_extraction_is_a_pair_or_says_why_not(tmp_path: Path) -> None:
    release = _Release(tmp_path)
    release.add(0, _said("correction", total_amount=("119.00", "118.00")))
    release.add(2, _said("approval"))
    release.add(4, _said("rejection"))
    release.add(6, _said("correction", total_amount=("7", "8")))
    release.add(8, _said("approval"), content="{")
    release.add(10)
    built = release.build()
    metrics = built.manifest.metrics
    assert metrics["pairs_of_corrections"] == metrics["pairs_of_approvals"] == 1
    assert metrics["extractions_reviewed"] == 5
    assert metrics["extractions_without_pair"] == 1
    quarantine = built.dataset.table("quarantine").to_pylist()
    assert {row["record"]: row["reason"] for row in quarantine} == {"ex-006": "stale_before", "ex-008": "bad_json"}
    assert all("Let one person" in row["detail"] or "read again" in row["detail"] for row in quarantine)
    assert "| stale_before | 1 |" in built.dataset.path("report.md").read_text()
    assert release.build().is_reused


def test_groups_are_never_torn_and_what_is_measured_is_not_learned_from(tmp_path: Path) -> None:
    release = _Release(tmp_path)
    for number in range(80):
        role = "test_only" if number == 20 else "train"
        release.add(number, _said("correction", total_amount=("119.00", "118.00")), role=role)
    rows = release.build(evaluated=(0, 2, 4)).dataset.table("pairs").to_pylist()
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["split_group"], set()).add(row["split"])
    assert all(len(names) == 1 for names in splits.values())
    assert [splits[f"world-{number}"] for number in (0, 1, 2, 10)] == [{"test"}] * 4
    assert {"train"} in splits.values()


@pytest.mark.parametrize("profile", ["seconds", "tiny", "gpu", "cluster"])
def test_profiles_split_as_the_training_set_does(profile: str) -> None:
    pairs, training = (
        yaml.safe_load((CONFIGS / profile / f"{name}.yaml").read_text())
        for name in ("preference_pairs", "training_set")
    )
    assert set(pairs) == set(PreferencePairsConfig.model_fields)
    assert (pairs["seed"], pairs["shares"]) == (training["seed"], training["shares"])

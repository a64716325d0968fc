"""Promotion: the decision's rules, and the stage against a real MLflow on SQLite."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sap_llm.learning.promotion import (
    Measured,
    RegisteredModelConfig,
    build_registered_model,
    champion_to_serve,
    decide_promotion,
)
from sap_llm.learning.rivalry import RivalryConfig
from sap_llm.registry.gates import MODEL_QUALITY, VARIANT_QUALITY
from sap_llm.registry.mlflow_registry import ModelRegistry
from sap_llm.registry.verdicts import Verdict, VerdictStore
from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.errors import GateClosedError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.releases import DOCUMENT_SCORES
from sap_llm.schema.tables import conform
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore, DatasetWriter

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RIVALRY = RivalryConfig(protected=(), epsilon=0.01, alpha=0.05, power=0.8, resamples=200)
CONFIG = RegisteredModelConfig(min_lead_over_baseline=0.01, min_lead_over_champion=0.0, rivalry=RIVALRY)
GROUPS = 40


def measured(f1: float, *, test_version: str = "t1", baseline: float = 0.5) -> Measured:
    return Measured(field_f1=f1, test_version=test_version, baseline=baseline)


@pytest.mark.parametrize(
    ("challenger", "champion", "refusal", "is_champion", "says"),
    [
        (measured(0.9), None, None, True, "first champion"),
        (measured(0.9), None, "gate closed", False, "gate closed"),
        (measured(0.505), None, None, False, "baseline"),
        (measured(0.9), measured(0.8), None, True, "0.9000 against the champion's 0.8000"),
        (measured(0.9), measured(0.9), None, False, "Not promoted"),
        (measured(0.7), measured(0.8), None, False, "Not promoted"),
        (measured(0.9, test_version="t2"), measured(0.8), None, False, "Re-evaluate the champion on t2"),
    ],
)
def test_promotion_rules(
    challenger: Measured, champion: Measured | None, refusal: str | None, is_champion: bool, says: str
) -> None:
    decision = decide_promotion(challenger, champion, refusal=refusal, config=CONFIG)
    assert decision.is_champion is is_champion
    assert says in decision.explanation


def by_document(f1: float, *, of_german: float | None = None) -> list[dict[str, Any]]:
    """Scores of one document a group, half of them German, each with the given F1."""
    rows = []
    for number in range(GROUPS):
        language = ("en", "de")[number % 2]
        hits = round(1000 * (of_german if of_german is not None and language == "de" else f1))
        about = {"document_id": f"d{number}", "test": "unseen_layouts", "split_group": f"g{number}"}
        about |= {"document_type": "SUPPLIER_INVOICE", "language": language}
        rows.append(about | {"true_positives": hits, "false_positives": 1000 - hits, "false_negatives": 1000 - hits})
    return rows


class House:
    """A store, a registry and helpers that build the inputs of the stage."""

    def __init__(self, root: Path) -> None:
        self.context = StageContext(store=DatasetStore(root / "datasets"), clock=FrozenClock(NOW))
        self.verdicts = VerdictStore(root / "registry", clock=FrozenClock(NOW))
        self.registry = ModelRegistry(f"sqlite:///{root / 'mlflow.db'}", root=root / "registry", clock=FrozenClock(NOW))

    def dataset(
        self,
        name: str,
        metrics: dict[str, Any],
        files: dict[str, str],
        scores: list[dict[str, Any]] | None = None,
        **inputs: DatasetRef,
    ) -> DatasetRef:
        def produce(writer: DatasetWriter) -> dict[str, Any]:
            if scores is not None:
                writer.write_table("document_scores", conform(scores, DOCUMENT_SCORES), DOCUMENT_SCORES)
            for relative, text in files.items():
                writer.path(relative).write_text(text)
            return metrics

        return build(
            self.context, name=name, stage_version="1", config=StageConfig(), inputs=inputs, produce=produce
        ).ref

    def release(
        self, name: str, f1: float, *, opens: bool = True, test_version: str = "t1", of_german: float | None = None
    ) -> dict[str, Any]:
        """Model, evaluation and variant of one release."""
        model = self.dataset(
            f"multitask_model/{name}", {"loss": 0.2}, {"model/config.json": name, "model/weights/a.bin": name}
        )
        numbers = {"field_f1": f1, "field_f1_baseline": 0.5, "test_version": test_version}
        numbers |= {"headline_test": "unseen_layouts"}
        scores = by_document(f1, of_german=of_german)
        evaluation = self.dataset(f"model_evaluation/{name}", numbers, {"report.md": name}, scores, model=model)
        quantized = self.dataset(
            f"quantized_models/{name}/int8", {"accepted": True}, {"int8/model.onnx": f"onnx {name}"}, model=model
        )
        if opens:
            self.judge(evaluation, MODEL_QUALITY)
            self.judge(quantized, VARIANT_QUALITY)
        return {"model": model, "evaluation": evaluation, "quantized": quantized, "release": name}

    def judge(self, ref: DatasetRef, gate: str) -> None:
        version = self.context.store.open(ref).manifest.data_version
        self.verdicts.record(
            Verdict(
                gate=gate,
                data_version=version,
                passed=True,
                measured={},
                required={},
                explanation="fine",
                created_at=NOW,
            )
        )

    def register(self, made: dict[str, Any], *, config: RegisteredModelConfig = CONFIG) -> BuildResult:
        return build_registered_model(
            self.context, config=config, registry=self.registry, verdicts=self.verdicts, **made
        )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_releases_are_registered_and_the_better_one_serves(house: House) -> None:
    assert house.registry.champion() is None
    first = house.release("r1", 0.8)
    built = house.register(first)
    assert built.manifest.metrics["is_champion"] is True
    champion = house.registry.champion()
    assert champion is not None
    assert (champion.version, champion.release, champion.previous) == ("1", "r1", None)
    assert (champion.folder / "config.json").read_text() == "r1"
    variant = house.registry.variant_folder(champion, "int8")
    assert variant is not None
    assert (variant / "int8" / "model.onnx").read_text() == "onnx r1"
    assert house.register(first).is_reused, "its own promotion changes nothing"

    worse = house.register(house.release("r2", 0.79))
    assert worse.manifest.metrics["is_champion"] is False
    assert worse.manifest.metrics["version"] == "2"
    assert worse.manifest.metrics["champion_field_f1"] == pytest.approx(0.8)

    other_test = house.register(house.release("r3", 0.99, test_version="t2"))
    assert "Re-evaluate" in other_test.manifest.metrics["explanation"]

    better = house.register(house.release("r4", 0.9))
    assert better.manifest.metrics["is_champion"] is True
    champion = house.registry.champion()
    assert champion is not None
    assert (champion.release, champion.previous) == ("r4", "1")
    assert json.loads(better.dataset.path("decision.json").read_text())["run_id"] == champion.run_id
    assert house.registry.check_consistency() == []
    assert [entry.release for entry in house.registry.versions()] == ["r1", "r2", "r3", "r4"]
    tags = house.registry._mlflow().get_model_version("sap_llm-multitask-model", "4").tags
    assert tags["model"].startswith("multitask_model/r4@")


def test_closed_gate_registers_but_does_not_promote_until_it_opens(house: House) -> None:
    made = house.release("r1", 0.9, opens=False)
    refused = house.register(made)
    assert refused.manifest.metrics["is_champion"] is False
    assert "gate model_quality is closed" in refused.manifest.metrics["explanation"]
    assert house.registry.champion() is None
    assert house.register(made).is_reused

    house.judge(made["evaluation"], MODEL_QUALITY)
    alone = house.register(made)
    assert alone.manifest.metrics["is_champion"] is True
    assert alone.manifest.metrics["variants"] == "none", "a variant behind a closed gate is not released"

    variant = house.context.store.open(made["quantized"]).manifest.data_version
    house.verdicts.override(variant, VARIANT_QUALITY, who="ana", why="demo", until=NOW + timedelta(days=1))
    opened = house.register(made)
    assert not opened.is_reused
    assert opened.manifest.metrics["variants"] == "int8"
    champion = house.registry.champion()
    assert champion is not None
    assert house.registry.variant_folder(champion, "int8") is not None
    assert opened.manifest.metrics["is_champion"] is True
    assert opened.manifest.metrics["version"] == "1", "the same model is registered once"


def test_what_was_judged_of_another_model_neither_promotes_nor_is_served(house: House) -> None:
    before, after = house.release("r1", 0.9), house.release("r2", 0.7)
    trained_anew = {**before, "model": after["model"]}
    with pytest.raises(GateClosedError, match="is of another model than multitask_model/r2"):
        house.register(trained_anew)
    assert house.registry.champion() is None

    mixed = house.register({**after, "quantized": before["quantized"]})
    assert mixed.manifest.metrics["variants"] == "none"


def test_whoever_serves_passes_the_door_again(house: House) -> None:
    made = house.release("r1", 0.9, opens=False)
    version = house.context.store.open(made["evaluation"]).manifest.data_version
    house.verdicts.override(version, MODEL_QUALITY, who="ana", why="demo", until=NOW + timedelta(days=1))
    house.register(made)
    served = champion_to_serve(house.context.store, house.registry, house.verdicts, consumer="extract")
    assert served is not None

    tomorrow = VerdictStore(house.verdicts.files.root_url, clock=FrozenClock(NOW + timedelta(days=2)))
    with pytest.raises(GateClosedError, match="extract is refused, because the gate model_quality is closed"):
        champion_to_serve(house.context.store, house.registry, tomorrow, consumer="extract")


def test_pointer_and_alias_are_compared_and_repaired(house: House) -> None:
    house.register(house.release("r1", 0.8))
    champion = house.registry.champion()
    damage: list[Callable[[Path], object]] = [
        lambda pointer: pointer.unlink(),
        lambda pointer: pointer.write_text(pointer.read_text().replace('"version": "1"', '"version": "7"')),
    ]
    for breaks in damage:
        breaks(Path(house.registry._files.root) / "champion.json")
        assert len(house.registry.check_consistency()) == 1
        assert house.registry.repair() == champion
        assert house.registry.check_consistency() == []


def test_registry_is_read_without_mlflow(house: House, tmp_path: Path) -> None:
    import subprocess
    import sys

    house.register(house.release("r1", 0.8))
    program = (
        "import sys; from pathlib import Path; from sap_llm.registry.mlflow_registry import ModelRegistry; "
        f"found = ModelRegistry('sqlite:///{tmp_path}/mlflow.db', root={str(tmp_path / 'registry')!r}).champion(); "
        "assert found.release == 'r1' and found.folder.is_dir(); assert 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path.cwd())


def test_a_lead_does_not_help_where_a_slice_is_harmed(house: House) -> None:
    """Three points better on the whole, five worse in German: refused, with the slice and its interval."""
    protected = CONFIG.model_copy(update={"rivalry": RIVALRY.model_copy(update={"protected": ("language=de",)})})
    house.register(house.release("r1", 0.8))
    rival = house.release("r2", 0.91, of_german=0.75)

    refused = house.register(rival, config=protected)

    assert refused.manifest.metrics["is_champion"] is False
    assert "language=de" in refused.manifest.metrics["explanation"]
    rows = {row["slice"]: row for row in refused.dataset.table("comparison").to_pylist()}
    assert rows["all"]["difference"] == pytest.approx(0.03, abs=1e-3)
    assert rows["language=de"]["difference"] == pytest.approx(-0.05)
    assert (rows["language=de"]["kind"], rows["language=de"]["groups"]) == ("protected", GROUPS // 2)


def test_a_protected_slice_that_is_too_small_says_how_many_groups_it_needs(house: House) -> None:
    """Twenty German groups are fewer than a bootstrap is trusted with, however good the challenger is."""
    protected = CONFIG.model_copy(update={"rivalry": RIVALRY.model_copy(update={"protected": ("language=de",)})})
    house.register(house.release("r1", 0.8))

    refused = house.register(house.release("r2", 0.9), config=protected)

    assert refused.manifest.metrics["is_champion"] is False
    assert "needs 30 groups" in refused.manifest.metrics["explanation"]


def test_a_champion_without_scores_by_document_is_no_rival_to_beat_unseen(house: House) -> None:
    """An evaluation of before, whose model can no longer be read: nobody is promoted over it by its average alone."""
    first = house.release("r1", 0.8)
    numbers = {"field_f1": 0.8, "field_f1_baseline": 0.5, "test_version": "t1"}
    first["evaluation"] = house.dataset("model_evaluation/r0", numbers, {"report.md": "0"}, model=first["model"])
    house.judge(first["evaluation"], MODEL_QUALITY)
    house.register(first)

    refused = house.register(house.release("r2", 0.9))

    assert refused.manifest.metrics["is_champion"] is False
    assert "no scores by document" in refused.manifest.metrics["explanation"]

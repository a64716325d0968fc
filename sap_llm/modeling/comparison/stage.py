"""The stage `base_comparison`: configuration and build function.

Belongs here: choosing the sample, launching the program that measures, and putting the matrix together. Measuring is
`measure`, rows and report are `matrix`. Importing this module loads neither torch nor transformers.
"""

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from sap_llm.evaluation.corpus import documents_with_pages
from sap_llm.evaluation.stage import RenderPage
from sap_llm.evaluation.test_set import load_test_set
from sap_llm.modeling.comparison.candidates import Candidate, all_candidates, evaluated
from sap_llm.modeling.comparison.plan import Answer, MeasurePlan
from sap_llm.modeling.features import CHARACTERS, word_texts
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.page import Page
from sap_llm.schema.tables import conform
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter

STAGE_VERSION = "1"
REPORT = "report.md"
_TEXT_WORDS = 60_000  # what tokenizers are trained on here: words of training documents


class BaseComparisonConfig(StageConfig):
    """`configs/<profile>/base_comparison.yaml`."""

    measured: tuple[str, ...] = Field(description="candidates that are run, as `family/size`; the others are listed")
    measures_trained: bool = Field(default=True, description="run also trained models whose shape has no name")
    documents: int = Field(default=24, description="sample, alike from each language", ge=1)
    language_documents: int = Field(default=40, description="of each language, for its words", ge=1)
    languages: tuple[str, ...] = ("de", "en", "es", "fr")
    rounds: int = Field(default=2, description="the best of so many counts", ge=1)
    most_tokens: int = Field(default=64, description="that a writer writes for a page", ge=1)
    picture_scale: float = Field(default=1.0, description="pixels a point of the pictures that writers see", gt=0)
    threads: int = Field(default=1, ge=1)
    accelerator: Literal["cpu", "cuda"] = "cpu"
    hardware: str = Field(description="what it runs on, as the report names it")
    price_per_hour: float = Field(description="of that hardware", ge=0)
    currency: str = "USD"
    tokenizers: dict[str, str] = Field(
        default={}, description="candidate -> tokenizer.json of a checkpoint that is here"
    )
    deadline_seconds: float = Field(default=3600.0, description="of all measurements together", gt=0)


def build_base_comparison(
    context: StageContext,
    *,
    config: BaseComparisonConfig,
    training_set: DatasetRef,
    evaluations: Sequence[DatasetRef],
    release: str,
    render: RenderPage | None = None,
) -> BuildResult:
    """The matrix of candidates: table `matrix` and `report.md`.

    Args:
        context: Store, clock and progress.
        config: Who is run, on what, at which price.
        training_set: Its test documents are the sample.
        evaluations: Versions of `model_evaluation` whose models' quality is shown (`candidates.evaluations_of`).
        release: Name of the release.
        render: Draws pages for the candidates that look at pictures; without it they are not run.

    Raises:
        ConfigurationError: A candidate is unknown, there is no test document, or measuring failed.
    """

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        return _Comparison(context, config, training_set, release).write(writer, evaluations, render)

    return build(
        context,
        name=f"base_comparison/{release}",
        stage_version=STAGE_VERSION,
        config=config,
        inputs={training_set.name: training_set, **{str(ref): ref for ref in evaluations}},
        produce=produce,
    )


class _Comparison:
    """One run of the stage."""

    def __init__(
        self, context: StageContext, config: BaseComparisonConfig, training_set: DatasetRef, release: str
    ) -> None:
        self.context, self.config, self.training_set, self.release = context, config, training_set, release

    def write(
        self, writer: DatasetWriter, evaluations: Sequence[DatasetRef], render: RenderPage | None
    ) -> dict[str, Any]:
        from sap_llm.modeling.comparison.matrix import MATRIX, report

        candidates = all_candidates([evaluated(self.context.store, ref) for ref in evaluations])
        run = self._to_run(candidates)
        documents, pages = self._documents()
        sample = _alike(documents, self.config.documents)
        pictures = self._pictures([documents[place] for place in sample], render)
        answer = self._measure(
            candidates, run, [pages[place] for place in sample], pictures, self._words(documents, pages)
        )
        rows = self._rows(candidates, answer)
        told = report(
            rows,
            hardware=f"{self.config.hardware} ({self.config.threads} thread)",
            documents=len(sample),
            price=f"{self.config.price_per_hour:g} {self.config.currency}",
            most_tokens=self.config.most_tokens,
        )
        writer.write_table("matrix", conform(rows, MATRIX), MATRIX)
        writer.path(REPORT).write_text(told, encoding="utf-8")
        return _metrics(rows, documents=len(sample))

    def _to_run(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        names = {one.name for one in candidates}
        if unknown := sorted(set(self.config.measured) - names):
            raise ConfigurationError(
                f"no candidate {', '.join(unknown)}", where="measured", remedy=f"Known: {', '.join(sorted(names))}."
            )
        wanted = set(self.config.measured)
        if self.config.measures_trained:
            wanted |= {one.name for one in candidates if one.evaluation is not None}
        return [one for one in candidates if one.name in wanted]

    def _documents(self) -> tuple[list[dict[str, Any]], list[list[Page]]]:
        """Test documents of the wanted languages with their pages; PDF files alone, where there are any."""
        test = load_test_set(self.context.store, self.training_set, real_sources=(), most_documents={})
        found = test.documents
        is_pdf = pc.equal(found.column("media_type"), "application/pdf")
        found = found.filter(is_pdf) if pc.any(is_pdf).as_py() else found
        parts = [
            found.filter(pc.equal(found.column("language"), language)).slice(0, self.config.language_documents)
            for language in self.config.languages
        ]
        rows: list[dict[str, Any]] = []
        pages: list[list[Page]] = []
        self._corpora = test.corpora
        for own, read in documents_with_pages(self.context.store, pa.concat_tables(parts), test.corpora, size=64):
            kept = [place for place, each in enumerate(read) if any(page.words for page in each)]
            rows += [own[place] for place in kept]
            pages += [read[place] for place in kept]
        if not rows:
            raise ConfigurationError(
                "no test document in these languages", where=str(self.training_set), remedy="Add documents."
            )
        return rows, pages

    def _pictures(
        self, documents: Sequence[Mapping[str, Any]], render: RenderPage | None
    ) -> list[npt.NDArray[np.uint8]] | None:
        """Gray first pages; None where pages cannot be drawn."""
        if render is None or any(row["media_type"] != "application/pdf" for row in documents):
            return None
        from PIL import Image

        pictures = []
        for row in documents:
            blobs = self.context.store.open(self._corpora[row["input"]]).scan("blobs")
            found = blobs.to_table(columns=["content"], filter=pc.field("sha256") == row["sha256"])
            if not found.num_rows:
                return None
            drawn = render(found.column("content")[0].as_py(), 1, self.config.picture_scale)
            pictures.append(np.asarray(Image.open(io.BytesIO(drawn)).convert("L"), dtype=np.uint8))
        return pictures

    def _texts(self) -> list[str]:
        """Running text of words of training documents, as the features hold them."""
        shards = self.context.store.open(self.training_set).table("shards", ["split", "characters"])
        column = shards.filter(pc.equal(shards.column("split"), "train")).column("characters")
        flat = pc.list_flatten(column).slice(0, _TEXT_WORDS * CHARACTERS).to_numpy()
        words = word_texts(flat.reshape(-1, CHARACTERS))
        return [" ".join(words[start : start + 100]) for start in range(0, len(words), 100)]

    def _words(self, documents: Sequence[Mapping[str, Any]], pages: Sequence[Sequence[Page]]) -> dict[str, list[str]]:
        """Words by language, of those languages that have any."""
        words: dict[str, list[str]] = {}
        for row, own in zip(documents, pages, strict=True):
            words.setdefault(row["language"], []).extend(word for page in own for word in page.words)
        return {language: words[language] for language in self.config.languages if words.get(language)}

    def _measure(
        self,
        candidates: Sequence[Candidate],
        run: Sequence[Candidate],
        pages: Sequence[Sequence[Page]],
        pictures: list[npt.NDArray[np.uint8]] | None,
        words: Mapping[str, Sequence[str]],
    ) -> Answer:
        self.context.progress(f"measuring {len(run)} of {len(candidates)} candidates on {len(pages)} documents")
        with tempfile.TemporaryDirectory(prefix="sap_llm_comparison_") as name:
            folder = Path(name)
            rows = [[page.to_row("") for page in own] for own in pages]
            (folder / "pages.json").write_text(json.dumps(rows))
            if pictures is not None:
                np.savez(folder / "pictures.npz", *pictures)
            plan = MeasurePlan(
                candidates=tuple(candidates),
                run=tuple(one.key for one in run),
                pages=str(folder / "pages.json"),
                pictures=str(folder / "pictures.npz") if pictures is not None else None,
                texts=tuple(self._texts()),
                words={language: tuple(own) for language, own in words.items()},
                tokenizers=self.config.tokenizers,
                rounds=self.config.rounds,
                most_tokens=self.config.most_tokens,
                threads=self.config.threads,
                device=self.config.accelerator,
                seed=self.config.seed,
            )
            (folder / "plan.json").write_text(plan.model_dump_json())
            return _launched(folder, deadline_seconds=self.config.deadline_seconds)

    def _rows(self, candidates: Sequence[Candidate], answer: Answer) -> list[dict[str, Any]]:
        from sap_llm.modeling.comparison.matrix import row

        return [
            row(
                one,
                parameters=answer.parameters[one.name],
                measured=answer.figures.get(one.key),
                coverages=answer.coverages[one.name],
                price_per_hour=self.config.price_per_hour,
                release=self.release,
                can_be_measured=one.key not in answer.figures or answer.figures[one.key] is not None,
            )
            for one in candidates
        ]


def _launched(folder: Path, *, deadline_seconds: float) -> Answer:
    """Run the measuring program over `plan.json` and return its answer."""
    command = [sys.executable, "-m", "sap_llm.modeling.comparison.measure"]
    command += ["--plan", str(folder / "plan.json"), "--out", str(folder / "answer.json")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=deadline_seconds)
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(
            f"measuring took longer than {deadline_seconds:g} s", where="measured", remedy="Name fewer candidates."
        ) from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ConfigurationError(f"measuring failed: {last[0]}", where="measured", remedy="Leave out what cannot run.")
    return Answer.model_validate_json((folder / "answer.json").read_text())


def _alike(documents: Sequence[Mapping[str, Any]], most: int) -> list[int]:
    """Places of at most `most` documents, taken from the languages in turn."""
    by_language: dict[str, list[int]] = {}
    for place, one in enumerate(documents):
        by_language.setdefault(one["language"], []).append(place)
    turns = [place for places in by_language.values() for place in enumerate(places)]
    return [place for _, place in sorted(turns)][:most]


def _metrics(rows: Sequence[Mapping[str, Any]], *, documents: int) -> dict[str, Any]:
    cells = ("latency_p50_ms", "latency_p95_ms", "peak_bytes", "cost_per_1000", "languages", "field_f1")
    metrics: dict[str, Any] = {
        "candidates": len(rows),
        "measured": sum(one["latency_p50_ms"] is not None for one in rows),
        "with_quality": sum(one["field_f1"] is not None for one in rows),
        "empty_cells": sum(one[name] is None for one in rows for name in cells),
        "sample_documents": documents,
    }
    for one in rows:
        if one["latency_p50_ms"] is not None:
            metrics[f"p50_ms_{one['candidate'].replace('/', '_')}_{one['use']}"] = one["latency_p50_ms"]
    return metrics

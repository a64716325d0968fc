"""The matrix of candidates as rows and as Markdown: measured cells, empty cells, and how each is filled.

Belongs here: what a row holds and how it is told. There is no total on purpose: cells that were never measured would
have to be invented, and weights between milliseconds, money and F1 are an opinion, not a measurement.
"""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from sap_llm.modeling.backbones.registry import PRECISIONS
from sap_llm.modeling.comparison.candidates import QUALITY, Candidate
from sap_llm.modeling.comparison.languages import Coverage
from sap_llm.modeling.comparison.plan import Measured
from sap_llm.schema.markdown import table

MATRIX = pa.schema(
    [
        pa.field("candidate", pa.string(), nullable=False),
        pa.field("use", pa.string(), nullable=False),  # reads | writes | triages
        pa.field("parameters", pa.int64(), nullable=False),
        *(pa.field(f"{name}_bytes", pa.int64(), nullable=False) for name in PRECISIONS),  # of the weights alone
        pa.field("latency_p50_ms", pa.float64()),
        pa.field("latency_p95_ms", pa.float64()),
        pa.field("peak_bytes", pa.int64()),
        pa.field("cost_per_1000", pa.float64()),
        pa.field("languages", pa.string()),  # what each keeps, as told in the report
        *(pa.field(name, pa.float64()) for name in QUALITY),
        pa.field("evaluation", pa.string()),  # the version that measured the quality
        pa.field("filled_by", pa.list_(pa.string()), nullable=False),  # commands for its empty cells
    ]
)
"""Table `matrix`; a null is a cell that nobody measured."""

NO_TOTAL = (
    "**No total is given.** A total needs a figure in every cell, and a rate at which milliseconds, money and F1 are "
    "exchanged. The roadmap's totals do not even follow from its own points: docs/adr/0024-base-comparison.md."
)
_NO_STAGE = "no stage of this release trains it"


def row(
    candidate: Candidate,
    *,
    parameters: int,
    measured: Measured | None,
    coverages: Mapping[str, Coverage],
    price_per_hour: float,
    release: str,
    can_be_measured: bool,
) -> dict[str, object]:
    """One candidate as a row of `MATRIX`.

    Args:
        candidate: Which.
        parameters: Counted.
        measured: None where it was not run.
        coverages: By language; empty where its tokenizer is not here.
        price_per_hour: Of the hardware.
        release: Named in commands.
        can_be_measured: Whether running it would give figures; False where the sample has no pictures for it.
    """
    cost = None if measured is None else round(measured.latency_mean_ms / 3600.0 * price_per_hour, 6)
    return {
        "candidate": candidate.name,
        "use": candidate.use,
        "parameters": parameters,
        **{f"{name}_bytes": int(parameters * size) for name, size in PRECISIONS.items()},
        "latency_p50_ms": measured and measured.latency_p50_ms,
        "latency_p95_ms": measured and measured.latency_p95_ms,
        "peak_bytes": measured and measured.peak_bytes,
        "cost_per_1000": cost,
        "languages": _languages(coverages) or None,
        **{name: candidate.quality.get(name) for name in QUALITY},
        "evaluation": str(candidate.evaluation) if candidate.evaluation else None,
        "filled_by": list(
            _commands(
                candidate,
                is_measured=measured is not None,
                can_be_measured=can_be_measured,
                has_languages=bool(coverages),
                release=release,
            )
        ),
    }


def _languages(coverages: Mapping[str, Coverage]) -> str:
    return ", ".join(
        f"{language} {one.surviving_characters:.1%} · {one.tokens_per_word:.2f}" for language, one in coverages.items()
    )


def _commands(
    candidate: Candidate, *, is_measured: bool, can_be_measured: bool, has_languages: bool, release: str
) -> Iterator[str]:
    name, build = candidate.name, "sap-llm build"
    if not is_measured:
        if can_be_measured:
            yield f"latency, memory, cost: `{build} base-comparison --release {release} --set 'measured=[{name}]'`"
        else:
            yield "latency, memory, cost: a release whose test documents are PDF files with their content"
    if not has_languages:
        yield (
            f"languages: `{build} base-comparison --release {release} "
            f"--set 'tokenizers={{{name}: <its tokenizer.json>}}'`"
        )
    if candidate.quality:
        return
    family, _, size = name.partition("/")
    if candidate.use == "reads":
        yield (
            f"quality: `{build} model --release {release} "
            f"--set 'backbone={{family: {family}, size: {size}}}' --set initial=null`, "
            f"then `{build} evaluation` and `{build} base-comparison` of that release"
        )
    elif candidate.use == "triages":
        yield f"quality: `{build} doc-router --release {release}` says its own: it reads no fields"
    elif family == "qwen2_5_vl":
        yield (
            f"quality: `{build} domain-model --release {release}`, "
            f"then `{build} instructed-model --release {release}`, "
            f"with `size: {size}` in the profile's configuration of both; `validation_f1` of the latter is its own, on "
            "validation documents, so it does not stand here"
        )
    else:
        yield f"quality: {_NO_STAGE}"


def report(rows: Sequence[Mapping[str, object]], *, hardware: str, documents: int, price: str, most_tokens: int) -> str:
    """The matrix in Markdown, what its columns mean, and how its empty cells are filled."""
    about = (
        f"{documents} test documents, one at a time, on {hardware} at {price} an hour. Readers: pages to scores; "
        f"writers: a picture to {most_tokens} tokens. Memory is what a candidate takes beyond the libraries. Weights "
        "are in fp32 while measured; bytes by precision are computed. Languages: characters that survive the "
        "candidate's input, and tokens a word. Quality is that of a reader trained here, on the headline test of "
        "its evaluation. An empty cell is one that nobody measured."
    )
    lines = [
        "# Candidates for the base model",
        about,
        table(
            ("candidate", "use", "parameters", *(f"{name} MB" for name in PRECISIONS), "p50 ms", "p95 ms", "peak MB",
             "cost / 1,000", "languages", *QUALITY),
            (_cells(one) for one in rows),
        ),
        NO_TOTAL,
        "## What fills the empty cells",
        "\n".join(f"- {one['candidate']} ({one['use']}): {said}" for one in rows for said in _said(one)),
    ]  # fmt: skip
    return "\n\n".join(lines) + "\n"


def _said(one: Mapping[str, object]) -> list[str]:
    found = one["filled_by"]
    assert isinstance(found, list)
    return found


def _cells(one: Mapping[str, object]) -> list[str]:
    megabytes = [_number(one[f"{name}_bytes"], unit=1e6) for name in PRECISIONS]
    return [
        str(one["candidate"]),
        str(one["use"]),
        _number(one["parameters"], digits=0),
        *megabytes,
        *(_number(one[name], digits=2) for name in ("latency_p50_ms", "latency_p95_ms")),
        _number(one["peak_bytes"], unit=1e6),
        _number(one["cost_per_1000"], digits=5),
        str(one["languages"] or ""),
        *(_number(one[name], digits=3) for name in QUALITY),
    ]


def _number(value: object, *, unit: float = 1.0, digits: int = 1) -> str:
    return f"{float(value) / unit:,.{digits}f}" if isinstance(value, int | float) else ""

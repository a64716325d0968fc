"""Which partitions the datasets of a profile have: seed ranges, public corpora, months, model variants.

Belongs here: the model of `configs/<profile>/partitions.yaml`, read alike by the CLI and by Dagster's partitions. Names
of datasets (`asset/partition`) are `schema.manifest`; what a stage does with a partition is its own room's business.
"""

import re

from pydantic import Field, field_validator

from sap_llm.storage.build import StageConfig

PARTITIONS = "partitions"
_SEED_RANGE = re.compile(r"(\d{4,})-(\d{4,})")
MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


class PartitionsConfig(StageConfig):
    """`configs/<profile>/partitions.yaml`."""

    seed_ranges: tuple[str, ...] = Field(description="world numbers, both ends included, such as 0000-0049")
    corpora: tuple[str, ...] = Field(description="public corpora that may be read")
    first_month: str = Field(description="first month of processing in QorSync that is exported, such as 2025-01")
    variants: tuple[str, ...] = Field(description="compressed variants of a model")

    @field_validator("first_month")
    @classmethod
    def _month_is_written_as_a_month(cls, month: str) -> str:
        if MONTH.fullmatch(month) is None:
            raise ValueError(f"{month!r} is not of the form 2025-01")
        return month

    @field_validator("seed_ranges")
    @classmethod
    def _ranges_are_ordered_and_apart(cls, ranges: tuple[str, ...]) -> tuple[str, ...]:
        last = -1
        for text in ranges:
            match = _SEED_RANGE.fullmatch(text)
            if match is None:
                raise ValueError(f"{text!r} is not of the form 0000-0049")
            first, end = int(match.group(1)), int(match.group(2))
            if first <= last or end < first:
                raise ValueError(f"{text!r} overlaps the range before it or runs backwards")
            last = end
        return ranges

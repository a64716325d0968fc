"""One execution of a stage under Dagster: which versions it consumes, what it reports, which door it must pass.

Belongs here: the translation between Dagster's contexts and the domain's `StageContext`. What the stage does is its
room in `sap_llm`; how results look in the UI is `resources.results`.
"""

import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeVar

import dagster as dg
from pydantic import Field

from resources.partitions import DOCUMENT_STAGE, RELEASE, VARIANT
from sap_llm.deployment import Deployment
from sap_llm.registry.gates import last_overrides, require_gates
from sap_llm.registry.verdicts import Override
from sap_llm.schema.errors import GateClosedError, SapLlmError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageConfig, StageContext
from sap_llm.storage.partitions import PARTITIONS, PartitionsConfig
from sap_llm.storage.store import Dataset

Context = dg.AssetExecutionContext | dg.OpExecutionContext | dg.AssetCheckExecutionContext
Config = TypeVar("Config", bound=StageConfig)

DATASET_REF = "dataset_ref"
_RECORDS_LOOKED_AT = 25  # a run's own record is among the newest, even with many runs at once
_SECONDS_BETWEEN_LOG_LINES = 2.0


class StageRunConfig(dg.Config):
    """What a person may set for one run; everything else comes from `configs/<profile>`."""

    profile: str | None = Field(default=None, description="another profile than the deployment's")
    overrides: dict[str, Any] = Field(
        default={}, description="dotted keys of this asset's configuration file, e.g. {'training.steps': 200}"
    )


class StageRun:
    """What an asset works with: the domain's context and configuration, refs, partition and the door."""

    def __init__(self, context: Context, deployment: Deployment, *, overrides: Mapping[str, Any], asset: str) -> None:
        self.dagster, self.deployment, self.asset, self._overrides = context, deployment, asset, dict(overrides)
        self.used_overrides: list[Override] = []

    @cached_property
    def context(self) -> StageContext:
        """For `build_<asset>`; progress goes to the run's log."""
        run = f"Dagster run {self.dagster.run.run_id}"
        return self.deployment.context(LogProgress(self.dagster.log), built_by=run)

    def config(self, model: type[Config]) -> Config:
        """The stage's resolved configuration: profile plus this run's overrides."""
        return self.deployment.config(model, self.asset, self._overrides)

    @cached_property
    def partitions(self) -> PartitionsConfig:
        """All partitions of the profile."""
        return self.deployment.config(PartitionsConfig, PARTITIONS)

    @property
    def partition(self) -> str:
        """The one partition key of this run.

        Raises:
            dg.Failure: The run covers several partitions at once; gates are judged per partition.
        """
        keys = self.partition_keys
        if len(keys) != 1:
            raise dg.Failure(
                f"{self.asset} is built one partition a run, and this run covers {len(keys)}. Launch it with one "
                "partition key, or as a backfill with one run per partition.",
                allow_retries=False,
            )
        return keys[0]

    @property
    def partition_keys(self) -> list[str]:
        """All partition keys of this run; more than one only in a backfill whose runs cover ranges."""
        context = self.dagster
        if context.has_partition_key:
            return [context.partition_key]
        return list(context.partition_keys) if context.has_partition_key_range else []

    @property
    def release(self) -> str:
        """The release of this run's partition, also where it is one of two dimensions.

        Raises:
            dg.Failure: The run covers several releases, or partitions of an asset that has the release alone.
        """
        found = {_dimensions(key)[RELEASE] for key in self.partition_keys if RELEASE in _dimensions(key)}
        if len(found) > 1:
            raise dg.Failure(
                f"{self.asset} is built from the inputs of one release, and this run covers "
                f"{', '.join(sorted(found))}. Launch one backfill for each release.",
                allow_retries=False,
            )
        return found.pop() if found else self.partition

    @property
    def document_stages(self) -> dict[str, str]:
        """Document stage by partition key, for every partition of this run."""
        return {key: _dimensions(key)[DOCUMENT_STAGE] for key in self.partition_keys}

    @property
    def variant(self) -> str:
        """The variant of this run's partition."""
        return _dimensions(self.partition)[VARIANT]

    def find(self, asset: str, partition: str | Mapping[str, str] | None = None) -> DatasetRef | None:
        """The version that `asset` was last materialised with: by this run if it did, else by any; None if never."""
        key = dg.MultiPartitionKey(dict(partition)) if isinstance(partition, Mapping) else partition
        found = self.dagster.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key] if key else None),
            limit=_RECORDS_LOOKED_AT,
        ).records
        if not found:
            return None
        record = next((entry for entry in found if entry.run_id == self.dagster.run.run_id), found[0])
        materialisation = record.asset_materialization
        assert materialisation is not None
        return DatasetRef.parse(str(materialisation.metadata[DATASET_REF].value))

    def ref(self, asset: str, partition: str | Mapping[str, str] | None = None) -> DatasetRef:
        """Like `find`, for an input that must be there.

        Raises:
            dg.Failure: It was never materialised.
        """
        found = self.find(asset, partition)
        if found is None:
            where = f" for partition {partition}" if partition else ""
            raise dg.Failure(
                f"{asset} was never materialised{where}, and {self.asset} needs it. Materialise {asset} first.",
                metadata={"missing": dg.MetadataValue.asset(dg.AssetKey(asset))},
                allow_retries=False,
            )
        return found

    def refs(self, asset: str, partitions: tuple[str, ...]) -> dict[str, DatasetRef]:
        """Dataset name -> version of those partitions that were materialised."""
        found = {f"{asset}/{partition}": self.find(asset, partition) for partition in partitions}
        return {name: ref for name, ref in found.items() if ref is not None}

    def corpora(self) -> dict[str, DatasetRef]:
        """Every corpus that was read or made so far, by dataset name: exports, public corpora, synthetic documents."""
        months = self.dagster.instance.get_materialized_partitions(dg.AssetKey("raw_exports"))
        return {
            **self.refs("raw_exports", tuple(sorted(months))),
            **self.refs("public_docs", self.partitions.corpora),
            **self.refs("synthetic_docs", self.partitions.seed_ranges),
        }

    def batches(self) -> dict[str, DatasetRef]:
        """Every batch that people answered so far, by dataset name."""
        releases = self.dagster.instance.get_materialized_partitions(dg.AssetKey("human_annotations"))
        return self.refs("human_annotations", tuple(sorted(releases)))

    def inputs_of(self, ref: DatasetRef) -> dict[str, DatasetRef]:
        """The exact versions that a dataset was made from, by role."""
        return dict(self.open_dataset(ref).manifest.inputs)

    def open_dataset(self, ref: DatasetRef) -> Dataset:
        """Open a version of the deployment's store."""
        return self.deployment.store.open(ref)

    def pass_door(self, *consumed: DatasetRef) -> None:
        """Refuse to go on unless every gate of the consumed versions has a passing verdict (or a recorded override).

        Raises:
            dg.Failure: A gate is closed; its description is the whole sentence, and no retry is made.
        """
        for ref in consumed:
            try:
                used = require_gates(self.deployment.verdicts, self.open_dataset(ref), consumer=self.asset)
            except GateClosedError as error:
                raise refusal(error, ref=ref) from error
            self.used_overrides += used.values()
            for gate, override in used.items():
                self.dagster.log.warning(
                    "gate %s of %s is closed; %s (unverified) let it through until %s, because: %s",
                    *(gate, ref, override.who, override.until, override.why),
                )

    def note_overrides(self, *consumed: DatasetRef) -> None:
        """Remember the overrides by which an earlier step of the run passed the door, also if they have ended since."""
        for ref in consumed:
            self.used_overrides += last_overrides(self.deployment.verdicts, self.open_dataset(ref))


def _dimensions(key: str) -> Mapping[str, str]:
    return key.keys_by_dimension if isinstance(key, dg.MultiPartitionKey) else {}


def refusal(error: SapLlmError, *, ref: DatasetRef | None = None) -> dg.Failure:
    """A failure that says the error's whole sentence on the run page and is not retried."""
    metadata: dict[str, Any] = {"what": error.what, "where": error.where, "remedy": error.remedy}
    if ref is not None:
        metadata["refused"] = dg.MetadataValue.asset(dg.AssetKey(ref.name.partition("/")[0]))
        metadata["version"] = str(ref)
    return dg.Failure(str(error), metadata=metadata, allow_retries=False)


class LogProgress:
    """Progress that writes to a run's log, at most one line every two seconds beside first and last ones."""

    def __init__(self, log: Any) -> None:
        self._log, self._last = log, 0.0

    def __call__(self, message: str, *, done: int = 0, total: int = 0) -> None:
        """Report one step."""
        now = time.monotonic()
        is_counting = total > 0 and done < total
        if is_counting and now - self._last < _SECONDS_BETWEEN_LOG_LINES:
            return
        self._last = now
        if total:
            self._log.info("%s %d/%d", message, done, total)
        else:
            self._log.info("%s", message)

"""The pages of Great Expectations that a person reads: every validation with its numbers, and the history.

Belongs here: the site below the registry (`data_docs/`). Which validations are run is `engine`; what the UI links to is
the caller's.

The site keeps the last validations of each suite. On an object store it is fetched, extended and put back, so two runs
that end at the same moment may lose each other's line in the index, never a page.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sap_llm.registry.files import RegistryFiles
from sap_llm.schema.manifest import DatasetRef

FOLDER = "data_docs"
INDEX = "index.html"
SOURCE = "views"
"""Name of the data source, which Great Expectations puts into the names of pages."""
_SITE, _RESULTS = "site", "results"
_KEPT = 20  # runs of each suite


class DataDocs:
    """The site of one registry."""

    def __init__(self, files: RegistryFiles) -> None:
        self._files = files
        self._root = files.root if files.is_local else files.root_url.rstrip("/")

    @property
    def index(self) -> str:
        """Location of the first page."""
        return f"{self._root}/{FOLDER}/{_SITE}/{INDEX}"

    def page(self, suite: str, ref: DatasetRef, moment: datetime) -> str:
        """Location of the page of a suite (`training_set.ranges.documents`) about a dataset version."""
        folder = f"{suite.replace('.', '/')}/{run_name(ref)}/{moment:%Y%m%dT%H%M%S.%fZ}"
        return f"{self._root}/{FOLDER}/{_SITE}/validations/{folder}/{SOURCE}-{suite}.html"

    @contextmanager
    def context(self, gx: Any) -> Iterator[Any]:
        """A context of Great Expectations whose validations are written to the site at the end of the block."""
        if self._files.is_local:
            with self._extended(gx, Path(self._files.root) / FOLDER) as context:
                yield context
            return
        remote = f"{self._files.root}/{FOLDER}"
        with tempfile.TemporaryDirectory(prefix="sap_llm_docs_") as scratch:
            folder = Path(scratch) / FOLDER
            folder.mkdir()
            if self._files.exists(FOLDER):
                self._files.filesystem.get(f"{remote}/", f"{folder}/", recursive=True)
            with self._extended(gx, folder) as context:
                yield context
            self._files.filesystem.put(f"{folder}/", f"{remote}/", recursive=True)

    @contextmanager
    def _extended(self, gx: Any, folder: Path) -> Iterator[Any]:
        context = gx.get_context(mode="ephemeral", project_config=_configuration(folder))
        known = set(context.validation_results_store.list_keys())
        yield context
        _forget_oldest(folder)
        added = [key for key in context.validation_results_store.list_keys() if key not in known]
        context.build_data_docs(resource_identifiers=added)


def run_name(ref: DatasetRef) -> str:
    """A dataset version as one part of a path."""
    return str(ref).replace("/", "-").replace("@", "-")


def _configuration(folder: Path) -> Any:
    """Everything in memory but the validations and the site."""
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    config = DataContextConfig(store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False))
    backend = {"class_name": "TupleFilesystemStoreBackend"}
    config.stores[config.validation_results_store_name] = {
        "class_name": "ValidationResultsStore",
        "store_backend": {**backend, "base_directory": str(folder / _RESULTS), "filepath_suffix": ".json"},
    }
    config.data_docs_sites = {
        "local": {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {**backend, "base_directory": str(folder / _SITE)},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
    }
    return config


def _forget_oldest(folder: Path) -> None:
    for kept in (folder / _RESULTS, folder / _SITE / "validations"):
        for suite in kept.glob("*/*/*"):
            runs = sorted(suite.glob("*/*"), key=lambda run: run.name)
            for run in runs[:-_KEPT]:
                shutil.rmtree(run)

"""Records of a Hugging Face corpus from the hub or from a folder, in the layouts in which they are distributed.

Belongs here: telling the layouts apart and yielding plain records. What a record means is `hub` and `cord`. The package
`datasets` is an extra and only imported here, inside functions.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sap_llm.schema.errors import MissingToolError, SourceError
from sap_llm.sources.catalogue import CorpusFacts

Record = dict[str, Any]
_SAVED = ("dataset_dict.json", "dataset_info.json")  # what save_to_disk leaves


def records(facts: CorpusFacts, folder: Path) -> Iterator[Record]:
    """Records of one corpus; `image` is a picture, its file, or a mapping with its bytes.

    Args:
        facts: Names repository and split.
        folder: Written by `save_to_disk`; or Parquet files as the hub keeps them (`data/train-00000-of-00004.parquet`);
            or CORD as published (`train/image`, `train/json`); or RVL-CDIP as published (`labels/train.txt`, `images`).
            An empty path asks the hub.

    Raises:
        MissingToolError: The package `datasets` is needed and not there.
        SourceError: The folder is in none of these layouts, or the hub cannot be reached.
    """
    if (folder / facts.split / "json").is_dir():
        return _cord_files(folder / facts.split)
    if (folder / "labels" / f"{facts.split}.txt").is_file():
        return _labelled_files(folder, folder / "labels" / f"{facts.split}.txt")
    return _through_datasets(facts, folder)


def _cord_files(folder: Path) -> Iterator[Record]:
    for path in sorted((folder / "json").glob("*.json")):
        yield {"image": folder / "image" / f"{path.stem}.png", "ground_truth": path.read_text(encoding="utf-8")}


def _labelled_files(folder: Path, labels: Path) -> Iterator[Record]:
    with labels.open(encoding="utf-8") as stream:
        for row in stream:
            name, _, label = row.strip().rpartition(" ")
            if name:
                yield {"image": folder / "images" / name, "label": int(label)}


def _through_datasets(facts: CorpusFacts, folder: Path) -> Iterator[Record]:
    if find_spec("datasets") is None:
        raise MissingToolError(
            "reading the Hugging Face hub needs the package `datasets`.",
            where=str(facts.repository),
            remedy="Install the extra: pip install 'sap-llm[hub]'.",
        )
    try:
        loaded = _load(facts, folder)
    except Exception as error:
        raise SourceError(
            f"the dataset cannot be opened ({type(error).__name__}: {error}).",
            where=str(facts.repository if folder == Path() else folder),
            remedy="Check the network, or give a folder: Parquet files, the files as published, or `save_to_disk`.",
        ) from error
    yield from loaded


def _load(facts: CorpusFacts, folder: Path) -> Any:
    import datasets

    if folder == Path():
        return datasets.load_dataset(facts.repository, split=facts.split, streaming=True)
    if any((folder / name).is_file() for name in _SAVED):
        loaded = datasets.load_from_disk(str(folder))
        return loaded[facts.split] if isinstance(loaded, datasets.DatasetDict) else loaded
    shards = sorted(str(path) for path in folder.rglob(f"{facts.split}*.parquet"))
    if not shards:
        raise FileNotFoundError(f"no {facts.split}*.parquet, no {' or '.join(_SAVED)} below {folder}")
    return datasets.load_dataset("parquet", data_files={facts.split: shards}, split=facts.split, streaming=True)

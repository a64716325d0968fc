"""Released models: found by name, newest last, and refused when a file is not the one that was released."""

import shutil
from pathlib import Path

import pytest

from sap_llm.modeling import released_model
from sap_llm.modeling.folder import CONFIG, GRAPH, read_config
from sap_llm.modeling.released_model import SUMS, released_folder, released_models
from sap_llm.registry.model_card import MODEL_CARD
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.taxonomy import load_taxonomy


@pytest.mark.parametrize("name", released_models())
def test_a_released_model_is_whole_and_speaks_of_this_taxonomy(name: str) -> None:
    folder = released_folder(name)
    summed = {line.partition("  ")[2] for line in (folder / SUMS).read_text().splitlines()}
    assert summed == {GRAPH, CONFIG, MODEL_CARD}
    labels = read_config(folder).label_set
    known = {field.name for field in load_taxonomy().fields}
    assert {*labels.header_fields, *labels.line_fields} <= known
    assert set(labels.classes) <= {entry.name for entry in load_taxonomy().classes}


def test_the_newest_is_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("reader-10", "reader-9", "reader-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / GRAPH).touch()
    monkeypatch.setattr(released_model, "_FOLDER", tmp_path)
    assert released_models() == ("reader-2", "reader-9", "reader-10")


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = released_models()[-1]
    shutil.copytree(released_folder(name), tmp_path / name)
    with (tmp_path / name / CONFIG).open("a", encoding="utf-8") as file:
        file.write("\n")
    monkeypatch.setattr(released_model, "_FOLDER", tmp_path)
    with pytest.raises(ConfigurationError, match=r"config\.json is not the file that was released"):
        released_folder(name)


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigurationError, match=r"no released model 'reader-0'.*reader-1"):
        released_folder("reader-0")

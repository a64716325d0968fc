"""The pages that people read first agree with the tree: links, verbs, commands, counts, rooms."""

import re
from pathlib import Path

import pytest

from sap_llm.schema.taxonomy import load_taxonomy

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").glob("*.md")])
TEXT = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}


@pytest.mark.parametrize("page", TEXT)
def test_links_lead_somewhere(page: str) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", TEXT[page])
    missing = [
        link for link in targets if "://" not in link and not ((ROOT / page).parent / link.removeprefix("./")).exists()
    ]
    assert missing == []


def test_make_verbs_exist() -> None:
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {verb for text in TEXT.values() for verb in re.findall(r"`make ([a-z-]+)", text)}
    assert {"demo", "dev", "check", "test", "setup"} <= used
    assert used <= verbs


def test_commands_exist() -> None:
    import typer
    from typer.main import get_command

    from sap_llm.cli.app import modules

    app = typer.Typer()
    for module in modules():
        module.register(app)
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for text in TEXT.values():
        for verb, sub in re.findall(r"`?sap-llm ([a-z]+)(?: ([a-z][a-z-]*))?", text):
            if verb in commands:
                group = getattr(commands[verb], "commands", {})
                assert not sub or not group or sub in group, f"sap-llm {verb} {sub}"
    named = {verb for text in TEXT.values() for verb in re.findall(r"`sap-llm ([a-z]+)", text)}
    assert named <= set(commands), named - set(commands)


def test_rooms_of_the_readme_are_those_on_disk() -> None:
    tree = TEXT["README.md"].split("```")
    drawn = {name for block in tree for name in re.findall(r"^  (\w+)(?:/|\.py) ", block, re.MULTILINE)}
    rooms = {path.parent.name for path in (ROOT / "sap_llm").glob("*/__init__.py")} | {"deployment"}
    assert rooms == drawn


def test_counts_of_the_taxonomy_are_the_real_ones() -> None:
    taxonomy = load_taxonomy()
    for page in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md"):
        for word, count in (("fields", len(taxonomy.fields)), ("classes", len(taxonomy.classes))):
            for said in re.findall(rf"(\d+)(?: document)? {word}", TEXT[page]):
                assert int(said) == count, f"{page}: {said} {word}"

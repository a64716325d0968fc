"""What a person submits in Label Studio's own editor: a pre-annotation accepted as it is comes back as it was."""

import os
import shutil
from dataclasses import replace
from typing import Any

import pytest

from sap_llm.annotation.desk import DeskTask, TaskKey
from sap_llm.schema.tables import ANNOTATIONS, conform
from tests.integration.annotation.conftest import Office, draw
from tests.integration.servers.label_studio import PASSWORD
from tests.support.desk_people import StudioPeople

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="no chromium; apt install chromium"),
]
_PAGE_MILLISECONDS = 60_000


def with_a_field_astray(row: dict[str, Any]) -> dict[str, Any]:
    """The row, one of whose line fields stands far from its line: only a relation ties them."""
    astray = row["line_items"][1]["fields"][-1]
    astray |= {"box": [60.0, 700.0, 90.0, 712.0], "word_ids": []}
    return row


def task_of(office: Office, key: TaskKey, guess: dict[str, Any]) -> DeskTask:
    """A task with that pre-annotation."""
    store = office.context.store
    (document,) = [
        row for row in store.open(office.corpus).table("documents").to_pylist() if row["document_id"] == key.document_id
    ]
    blobs = {row["sha256"]: row["content"] for row in store.open(office.corpus).table("blobs").to_pylist()}
    content = blobs[document["sha256"]]
    return DeskTask(
        key=key,
        corpus=str(office.corpus),
        document=document,
        purpose="flagged",
        annotators=1,
        priority=1.0,
        page_sizes=office.sizes(key),
        guesses=[guess | {"annotator": "model:7"}],
        decides_on=(),
        content=content,
        pictures=[draw(content, 1, 1.5)],
    )


def submit(people: StudioPeople, email: str, tasks: list[tuple[int, int]]) -> None:
    """Sign in, open each (project, task) and press the button."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(_PAGE_MILLISECONDS)
        page.goto(f"{people.server.url}/user/login")
        page.fill("input[name=email]", email)
        page.fill("input[name=password]", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url("**/")
        for project, task in tasks:
            page.goto(f"{people.server.url}/projects/{project}/data?task={task}")
            expect(page.get_by_text("LINE_ITEM").first).to_be_visible(timeout=_PAGE_MILLISECONDS)
            expect(page.get_by_text("line fields (50)").first).to_be_attached(timeout=_PAGE_MILLISECONDS)
            with page.expect_response(lambda response: "/annotations" in response.url and response.status == 201):
                page.get_by_role("button", name="Submit").click()
        browser.close()


def whole(row: dict[str, Any]) -> dict[str, Any]:
    """An annotation as the tables hold it, without whose word it is."""
    about = {"annotator": "x", "revision": 1, "source": "x", "created_at": None, "type_confidence": 1.0}
    stored = conform([row | about], ANNOTATIONS).to_pylist()[0]
    items = stored["line_items"]
    for field in [*stored["fields"], *(field for item in items for field in item["fields"])]:
        field["confidence"], field["source"] = 1.0, "x"
    for fields in (stored["fields"], *(item["fields"] for item in items)):
        fields.sort(key=lambda field: (field["field"], str(field["box"])))
    return dict(stored)


def test_what_is_submitted_unchanged_comes_back_as_it_was(
    office: Office, studio_people: StudioPeople, release: str
) -> None:
    people = studio_people
    key = replace(office.keys(release, office.tasks(last=1))[0], queue="experts")
    shown = with_a_field_astray(office.truth(key))
    people.desk.post([task_of(office, key, shown)])
    people.client("lee")
    submit(people, "lee@desk.example", [(people.project(key), people.task(key))])
    built = office.sync(people, release)
    assert built.dataset.table("quarantine").to_pylist() == []
    (given,) = built.dataset.table("annotations").to_pylist()
    assert given["annotator"] == people.identity("lee")
    assert whole(given) == whole(shown)
    (answer,) = built.dataset.table("answers").to_pylist()
    assert answer["lead_seconds"] > 0

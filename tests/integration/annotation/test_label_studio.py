"""What only a real Label Studio shows: skipped documents, its clock, strangers' tasks, twins, pictures, being down."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from label_studio_sdk import LabelStudio

from sap_llm.annotation import labelling_config as config
from sap_llm.annotation.desk import DeskUnavailableError, News, TaskKey
from sap_llm.annotation.label_studio_desk import LabelStudioDesk
from sap_llm.schema.errors import ConfigurationError
from tests.integration.annotation.conftest import Office, answers_of, reasons, values
from tests.support.desk_people import StudioPeople

INVOICE = {"id": "c", "type": "choices", "from_name": config.DOCUMENT_TYPE, "to_name": config.PAGE}


@pytest.fixture
def people(studio_people: StudioPeople) -> StudioPeople:
    return studio_people


@pytest.fixture
def owner(people: StudioPeople) -> LabelStudio:
    return LabelStudio(base_url=people.server.url, api_key=people.server.token)


@pytest.fixture
def keys(office: Office, people: StudioPeople, release: str) -> list[TaskKey]:
    tasks = office.tasks(annotators=2, last=3)
    office.send(people, release, tasks)
    return office.keys(release, tasks)


def chosen(name: str) -> list[dict[str, Any]]:
    return [INVOICE | {"value": {"choices": [name]}}]


@pytest.mark.slow
def test_pages_are_pictures_and_guesses_are_predictions_with_scores(
    office: Office, people: StudioPeople, owner: LabelStudio, keys: list[TaskKey]
) -> None:
    task = owner.tasks.get(id=str(people.task(keys[0])))
    (address,) = task.data["pages"]
    headers = {"Authorization": f"Token {people.server.token}"}
    picture = httpx.get(people.server.url + address, headers=headers, timeout=60)
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    assert httpx.get(people.server.url + address, timeout=60).content != picture.content  # not for everybody
    (prediction,) = owner.predictions.list(task=people.task(keys[0]))
    assert prediction.model_version == "model:label-baseline"
    assert 0 <= prediction.score <= 1
    assert {result["type"] for result in prediction.result} >= {"rectanglelabels", "textarea", "choices"}
    assert all(0 <= result["score"] <= 1 for result in prediction.result if result["type"] == "rectanglelabels")
    made = next(iter(owner.projects.list(title=f"SAP_LLM {keys[0].release} ")))
    assert made.maximum_annotations == 2


@pytest.mark.slow
def test_a_skipped_document_counts_only_when_it_is_answered_after_all(
    office: Office, people: StudioPeople, release: str, keys: list[TaskKey]
) -> None:
    given = people.give(keys[0], "cy", [], was_cancelled=True)
    first = office.sync(people, release)
    assert answers_of(first) == []
    assert reasons(first) == {"skipped": 1}
    assert [entry.skipped for entry in people.desk.status() if entry.release == release] == [1]
    people.client("cy").annotations.update(id=int(given), result=chosen("CREDIT_NOTE"), was_cancelled=False)
    second = office.sync(people, release, first)
    assert [row["annotator"] for row in answers_of(second)] == [people.identity("cy")]
    people.client("cy").annotations.update(id=int(given), was_cancelled=True)
    third = office.sync(people, release, second)
    assert answers_of(third) == []
    assert third.manifest.metrics["withdrawn"] == 2


@pytest.mark.slow
def test_no_clock_hides_an_answer(office: Office, people: StudioPeople, release: str, keys: list[TaskKey]) -> None:
    people.answer(keys[0], "dee", office.truth(keys[0]), office.sizes(keys[0]))
    now = datetime.now(UTC)

    def look(cursor: datetime, known: dict[str, datetime], desk: LabelStudioDesk = people.desk) -> News:
        return desk.news(release, cursor=cursor.isoformat(), known=known)

    ahead = look(now + timedelta(days=3), {})  # the server's clock was set back behind the cursor
    assert (ahead.is_complete, len(ahead.answers)) == (True, 1)
    cursor = datetime.fromisoformat(ahead.cursor)
    assert cursor <= now + timedelta(minutes=1)
    tied = look(cursor, {})  # stamped at the very moment of the cursor, or a little before
    assert len(tied.answers) == 1
    known = {answer.desk_id: answer.updated_at for answer in ahead.answers}
    quiet = look(cursor, known)
    assert (quiet.answers, quiet.gone, quiet.is_complete) == ([], [], False)

    people.answer(keys[1], "dee", office.truth(keys[1]), office.sizes(keys[1]))
    late = look(now + timedelta(minutes=30), known, desk_at(now + timedelta(hours=1), people))
    assert (late.is_complete, len(late.answers)) == (True, 1)  # long before the cursor, but one more than was taken


def desk_at(now: datetime, people: StudioPeople) -> LabelStudioDesk:
    """The same desk, whose server says that it is another time."""

    class Elsewhen(LabelStudioDesk):
        def _now(self) -> datetime:
            return now

    return Elsewhen(people.server.url, token=people.server.token)


@pytest.mark.slow
def test_answers_about_what_we_do_not_know_are_quarantined(
    office: Office, people: StudioPeople, owner: LabelStudio, release: str, keys: list[TaskKey]
) -> None:
    people.answer(keys[0], "eve", office.truth(keys[0]), office.sizes(keys[0]))
    people.give(keys[1], "eve", chosen("LUNCH_MENU"))
    people.give(keys[2], "eve", [{"anything": "at all"}])
    project = next(iter(owner.projects.list(title=f"SAP_LLM {release} "))).id
    data = dict(owner.tasks.get(id=str(people.task(keys[0]))).data)
    stranger = {"pages": data["pages"], "text": "of another project"}
    gone = data | {"document_id": "doc-gone"}
    other = data | {"document_id": "doc-x", "corpus": "synthetic_docs/none@0"}
    elsewhere = data | {"release": "another"}
    answer = {"result": chosen("CREDIT_NOTE")}
    strangers: list[Any] = [{"data": one, "annotations": [answer]} for one in (stranger, gone, other, elsewhere)]
    owner.projects.import_tasks(id=project, request=strangers)
    built = office.sync(people, release)
    assert [row["document_id"] for row in answers_of(built)] == [keys[0].document_id]
    assert reasons(built) == {"foreign_task": 2, "unknown_document": 2, "unknown_class": 1, "garbled": 1}
    for row in built.dataset.table("quarantine").to_pylist():
        assert row["detail"].endswith("Mend the answer at the desk.")
        assert json.loads(row["payload"])["payload"]
    assert built.dataset.table("records").num_rows == 7
    assert office.sync(people, release, built).ref == built.ref
    assert people.desk.keys(release) >= set(keys)


@pytest.mark.slow
def test_of_twins_one_stays_and_none_that_was_answered_goes(
    office: Office, people: StudioPeople, owner: LabelStudio, release: str, keys: list[TaskKey]
) -> None:
    project = next(iter(owner.projects.list(title=f"SAP_LLM {release} "))).id
    twins: list[Any] = [{"data": dict(owner.tasks.get(id=str(people.task(key))).data)} for key in keys[:2]]
    owner.projects.import_tasks(id=project, request=twins)
    first, second = people.tasks(keys[0])
    people.client("fay").annotations.create(id=second, result=chosen("CREDIT_NOTE"))
    assert people.desk.keys(release) == set(keys)
    assert people.tasks(keys[0]) == [second]
    assert len(people.tasks(keys[1])) == 1
    assert len(answers_of(office.sync(people, release))) == 1
    assert first != second


@pytest.mark.slow
def test_two_annotators_and_an_arbiter_give_the_kappa_and_the_truths_of_the_plan(
    office: Office, people: StudioPeople, release: str
) -> None:
    from sap_llm.annotation.adjudication import arbitration_tasks, resolve
    from sap_llm.annotation.agreement import measure_agreement
    from sap_llm.annotation.human_truths import human_truths

    # Rows: what gil says; columns: what hal says; documents in order.
    plan = [("SUPPLIER_INVOICE", "SUPPLIER_INVOICE")] * 3 + [("CREDIT_NOTE", "CREDIT_NOTE")] * 2
    plan += [("SUPPLIER_INVOICE", "CREDIT_NOTE")] * 2 + [("CREDIT_NOTE", "SUPPLIER_INVOICE")]
    tasks = office.tasks(annotators=2, last=8)
    office.send(people, release, tasks)
    keys = office.keys(release, tasks)
    for key, (one, other) in zip(keys, plan, strict=True):
        for who, kind in (("gil", one), ("hal", other)):
            row = office.truth(key) | {"document_type": kind, "document_subtype": None}
            people.answer(key, who, row, office.sizes(key))
    first = office.sync(people, release)
    found = measure_agreement(first.dataset.table("annotations"), first.dataset.table("answers"))
    # Of 8 documents 5 agree. gil says invoice 5 times, hal 4 times: expected (5*4 + 3*4)/64.
    observed, expected = 5 / 8, (5 * 4 + 3 * 4) / 64
    assert found.class_kappa.value == pytest.approx((observed - expected) / (1 - expected))
    assert found.field_kappa.value == 1.0

    disputed = resolve(first.dataset.table("annotations"), first.dataset.table("answers")).disagreements
    assert set(disputed.column("document_id").to_pylist()) == {key.document_id for key in keys[5:]}
    asked = arbitration_tasks(disputed, {key.document_id: office.corpus.name for key in keys})
    assert office.send(people, release, asked, human=first.ref).posted == 3
    for key in keys[5:]:
        senior = TaskKey(release=release, queue="seniors", document_id=key.document_id)
        row = office.truth(key) | {"document_type": "DEBIT_NOTE", "document_subtype": None}
        people.answer(senior, "ivy", row, office.sizes(key), why="the heading says so")
    second = office.sync(people, release, first)
    decisions = [row for row in answers_of(second) if row["queue"] == "seniors"]
    assert {row["why"] for row in decisions} == {"the heading says so"}
    given = {row["desk_id"]: row["document_id"] for row in answers_of(second) if row["queue"] == "annotators"}
    for row in decisions:
        assert [given[desk_id] for desk_id in row["decides_on"]] == [row["document_id"]] * 2

    truths = {row["document_id"]: row for row in human_truths(office.context.store, {"h": second.ref}).to_pylist()}
    wanted = [one if one == other else "DEBIT_NOTE" for one, other in plan]
    assert [truths[key.document_id]["document_type"] for key in keys] == wanted
    for key in keys:
        assert values(truths[key.document_id])[2:] == values(office.truth(key))[2:]
    # Arbitrations are no part of the agreement.
    again = measure_agreement(second.dataset.table("annotations"), second.dataset.table("answers"))
    assert again.class_kappa.value == found.class_kappa.value


@pytest.mark.slow
def test_a_wrong_token_is_said(office: Office, people: StudioPeople, release: str) -> None:
    desk = LabelStudioDesk(people.server.url, token="0" * 40)
    with pytest.raises(DeskUnavailableError, match=r"answered 401.*access token"):
        desk.keys(release)


@pytest.mark.slow
def test_a_release_that_no_title_can_hold_is_refused(office: Office, people: StudioPeople) -> None:
    with pytest.raises(ConfigurationError, match="cannot be a project"):
        office.send(people, "a-release-with-a-very-long-name-indeed-and-more", office.tasks(last=1))


def test_a_server_that_is_down_is_said(office: Office) -> None:
    desk = LabelStudioDesk("http://127.0.0.1:9", token="0" * 40)
    for ask in (desk.status, lambda: desk.mark("r"), lambda: desk.news("r", cursor=None, known={})):
        with pytest.raises(DeskUnavailableError, match="make label-studio"):
            ask()

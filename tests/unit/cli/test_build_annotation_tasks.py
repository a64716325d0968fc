"""`sap-llm build annotation-tasks`: the tasks of a release and what they cost, or a sentence on what is missing."""

from functools import partial

import pytest

from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
from sap_llm.deployment import Deployment
from sap_llm.learning.judges import GATES_CONFIG, GatesConfig, judge_all
from sap_llm.schema.errors import DatasetNotFoundError, GateClosedError
from tests.support.build_command import run_build
from tests.support.toy_corpus import toy_document, write_corpus

pytestmark = pytest.mark.usefixtures("home")
_run = partial(run_build, "annotation-tasks")


def test_without_annotated_documents_it_says_what_to_build_first() -> None:
    error = _run("--release", "r1").exception
    assert isinstance(error, DatasetNotFoundError)
    assert "Build annotated_docs first" in str(error)


def test_it_builds_the_tasks_and_tells_their_cost() -> None:
    deployment = Deployment.load()
    context = deployment.context()
    corpus = write_corpus(context, "synthetic_docs/0000-0001", [toy_document(f"d{number}") for number in range(20)])
    corpora = {"synthetic_docs/0000-0001": corpus}
    built = build_annotated_docs(context, config=AnnotatedDocsConfig(), corpora=corpora, release="r1")
    assert isinstance(_run("--release", "r1").exception, GateClosedError)  # nobody judged the documents yet
    config = deployment.config(GatesConfig, GATES_CONFIG)
    assert all(one.passed for one in judge_all(built.dataset, config=config, verdicts=deployment.verdicts))
    result = _run("--release", "r1")
    assert result.exit_code == 0, result.output
    tasks = deployment.store.open(deployment.store.current("annotation_tasks/r1"))
    assert tasks.manifest.rows["tasks"] > 0
    assert f"{tasks.manifest.metrics['tasks']} tasks" in result.output.replace("\n", " ")

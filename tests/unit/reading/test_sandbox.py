"""A hostile file costs one error and nothing else: time, memory, crashes, kills, rubbish, and what the child may do."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import typst
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sap_llm.reading import ocr
from sap_llm.reading.document import ReadDocument
from sap_llm.reading.sandbox import Sandbox
from sap_llm.schema.errors import MissingToolError, SapLlmError, UnreadableDocumentError
from tests.support.hostile_files import (
    content_bomb_pdf,
    encrypted_pdf,
    page_loop_pdf,
    pdf_of_pages,
    pixel_bomb_png,
)
from tests.support.raw_pdf import raw_pdf, shown
from tests.support.typeset_corpus import typeset_pdf


@pytest.fixture(scope="module")
def invoice() -> bytes:
    return typeset_pdf(4711)[0]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(timeout_seconds=20, memory_bytes=2 * 2**30) as made:
        yield made


def _goes_on(sandbox: Sandbox) -> bool:
    return sandbox.read(b"next file", name="next.txt").pages[0].words == ["next", "file"]


def _child(sandbox: Sandbox) -> psutil.Process:
    """The reader process, of which `psutil` knows by its arguments."""
    children = [item for item in psutil.Process().children() if "sap_llm.reading.worker" in item.cmdline()]
    assert children
    return max(children, key=lambda item: item.create_time())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty", id="zero bytes"),
        pytest.param(b"\x7fELF\x02\x01\x01\x00" + bytes(99), "neither PDF nor picture", id="a program"),
        pytest.param(encrypted_pdf(), "password", id="encrypted"),
        pytest.param(typeset_pdf(1)[0][:700], "damaged|pages|read", id="truncated"),
        pytest.param(page_loop_pdf(), "pages|read|words", id="page tree in a circle"),
        pytest.param(page_loop_pdf(depth=5000), "pages|read|words|crashed", id="deep page tree"),
        pytest.param(pixel_bomb_png(side=60_000), "pixels|decoded|OCR", id="pixel bomb"),
    ],
)
def test_hostile_files_give_a_reason_and_the_next_file_is_read(sandbox: Sandbox, content: bytes, reason: str) -> None:
    with pytest.raises(SapLlmError, match=reason) as caught:
        sandbox.read(content, name="bad.bin")
    assert caught.value.where.startswith("bad.bin") or isinstance(caught.value, MissingToolError)
    assert caught.value.remedy
    assert _goes_on(sandbox)


def test_a_content_that_unpacks_without_end_is_ended_at_the_limit() -> None:
    with Sandbox(timeout_seconds=1.5) as sandbox:
        with pytest.raises(UnreadableDocumentError, match=r"longer than 1\.5 s"):
            sandbox.read(content_bomb_pdf(megabytes=60), name="bomb.pdf")
        assert _goes_on(sandbox)


def test_a_thousand_pages_are_read_up_to_the_limit(sandbox: Sandbox, invoice: bytes) -> None:
    read = sandbox.read(pdf_of_pages(invoice, count=1000), name="long.pdf", max_pages=30)
    assert len(read.pages) == 30
    assert any("first 30 of 1000" in note for note in read.notes)


def test_a_page_crammed_with_text_is_refused(sandbox: Sandbox) -> None:
    crammed = b"".join(shown("x" * 5000, 1, 1 + row, size=1) for row in range(60))
    with pytest.raises(UnreadableDocumentError, match=r"\d{6} characters"):
        sandbox.read(raw_pdf(crammed), name="crammed.pdf")


@pytest.mark.slow
def test_a_child_killed_in_the_middle_of_a_document_costs_that_document(invoice: bytes) -> None:
    long = pdf_of_pages(invoice, count=3000)
    with Sandbox() as sandbox:
        assert _goes_on(sandbox)
        for number, reason in ((signal.SIGKILL, "crashed"), (signal.SIGSEGV, "crashed on this file .SIGSEGV")):
            timer = threading.Timer(0.3, _child(sandbox).send_signal, [number])
            timer.start()
            with pytest.raises(UnreadableDocumentError, match=reason):
                sandbox.read(long, name="long.pdf", max_pages=3000)
            timer.join()
            assert _goes_on(sandbox)


def test_a_child_that_died_between_two_documents_costs_none() -> None:
    with Sandbox() as sandbox:
        assert _goes_on(sandbox)
        child = _child(sandbox)
        child.kill()
        child.wait(10)
        assert _goes_on(sandbox)


def test_a_child_that_does_not_take_its_document_is_ended_at_the_limit() -> None:
    with Sandbox() as sandbox:
        assert _goes_on(sandbox)
        _child(sandbox).suspend()
        sandbox.timeout_seconds = 0.5
        with pytest.raises(UnreadableDocumentError, match=r"longer than 0\.5 s"):
            sandbox.read(b" " * 5_000_000, name="large.txt")  # more than a pipe holds
        sandbox.timeout_seconds = 30
        assert _goes_on(sandbox)


def test_a_reader_that_hangs_is_ended_at_the_limit() -> None:
    slow = typst.compile(b"#for page in range(400) [#lorem(400) #pagebreak()]")
    assert isinstance(slow, bytes)
    started = time.monotonic()
    with Sandbox(timeout_seconds=0.4) as sandbox:
        with pytest.raises(UnreadableDocumentError, match=r"longer than 0\.4 s"):
            sandbox.read(slow, name="slow.pdf", max_pages=5000)
        sandbox.timeout_seconds = 30
        assert sandbox.read(b"next file", name="next.txt").pages[0].words == ["next", "file"]
    assert time.monotonic() - started < 30


def test_a_reader_that_eats_memory_costs_one_error() -> None:
    picture = io.BytesIO()
    Image.new("L", (10_000, 10_000)).save(picture, format="PNG")
    with Sandbox(memory_bytes=450 * 2**20) as sandbox:
        with pytest.raises(SapLlmError) as caught:
            sandbox.read(picture.getvalue(), name="huge.png")
        assert sandbox.read(b"next file", name="next.txt").pages[0].words == ["next", "file"]
    if ocr.has_ocr():
        assert "memory" in str(caught.value) or "crashed" in str(caught.value)


_ATTEMPTS = """
import os, socket, subprocess, sys, threading
from pathlib import Path
from sap_llm.reading.confinement import confine
from sap_llm.reading.pdf import read_pdf
content = sys.stdin.buffer.read()
confine(memory_bytes=2 * 2**30, readable=[])
def attempt(name, call):
    try:
        call()
    except OSError as error:
        print(name, type(error).__name__)
    else:
        print(name, "done")
attempt("connect", lambda: socket.create_connection(("127.0.0.1", 9), 1))
attempt("program", lambda: subprocess.run([sys.executable, "-c", "0"], check=False))
attempt("child", os.fork)
attempt("signal", lambda: os.kill(os.getppid(), 0))
attempt("secret", lambda: Path("/etc/passwd").read_text())
attempt("documents", lambda: Path(sys.argv[1]).read_text())
attempt("write", lambda: Path(sys.argv[1] + ".new").write_text("x"))
attempt("remove", lambda: Path(sys.argv[1]).unlink())
attempt("core", lambda: os.write(os.open(sys.argv[1], os.O_WRONLY), b"x"))
thread = threading.Thread(target=print, args=("thread done",))
thread.start()
thread.join()
print("words", len(read_pdf(content, name="x.pdf")[0][0].words) > 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux'")
def test_what_takes_the_child_over_has_no_files_no_network_and_no_children(invoice: bytes, tmp_path: Path) -> None:
    target = tmp_path / "document.txt"
    target.write_text("kept")
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", _ATTEMPTS, str(target)],
        input=invoice,
        capture_output=True,
        check=True,
        env={"PYTHONPATH": root, "PYTHONSAFEPATH": "1"},
        cwd="/",
    )
    said = dict(line.split() for line in done.stdout.decode().splitlines())
    assert said.pop("thread") == "done"
    assert said.pop("words") == "True"
    if not Path("/sys/kernel/security/landlock").exists() and said["secret"] == "done":
        pytest.skip("the kernel has no Landlock")
    assert set(said.values()) == {"PermissionError"}, said
    assert target.read_text() == "kept"
    assert list(tmp_path.iterdir()) == [target]


def test_the_child_is_given_no_secrets_and_a_session_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAP_LLM_PASSWORD", "secret")
    with Sandbox() as sandbox:
        assert _goes_on(sandbox)
        child = _child(sandbox)
        assert "SAP_LLM_PASSWORD" not in child.environ()
        assert child.cwd() == "/"
        assert os.getsid(child.pid) != os.getsid(0)
        assert child.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        assert child.rlimit(psutil.RLIMIT_CPU)[0] > 0


@pytest.mark.slow
def test_a_child_whose_parent_is_gone_ends() -> None:
    script = "from sap_llm.reading.sandbox import Sandbox; s = Sandbox(); s.read(b'x', name='x.txt'); import os; "
    script += "print(s._process.pid, flush=True); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    psutil.wait_procs([psutil.Process(pid) for pid in map(int, done.stdout.split()) if psutil.pid_exists(pid)], 10)
    assert not psutil.pid_exists(int(done.stdout))


_MUTATIONS = st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=0, max_size=12)), min_size=1, max_size=8)


def _mutated(content: bytes, mutations: list[tuple[int, bytes]]) -> bytes:
    changed = bytearray(content)
    for place, replacement in mutations:
        at = place % len(changed)
        changed[at : at + len(replacement) or at + 40] = replacement
    return bytes(changed)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutations=_MUTATIONS, kind=st.sampled_from(["typeset", "raw", "png"]))
def test_random_damage_gives_a_result_or_a_reason(
    sandbox: Sandbox, mutations: list[tuple[int, bytes]], kind: str
) -> None:
    said = ""
    try:
        read: ReadDocument | None = sandbox.read(_mutated(_SOUND[kind], mutations), name="damaged")
    except SapLlmError as error:
        said = str(error)
        read = None
    if read is None:
        assert said.startswith("damaged") or "OCR" in said
    else:
        for page in read.pages:
            assert len(page.words) == len(page.boxes) == len(page.lines)
            assert 0 <= page.quality <= 1


def _png() -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((60, 40), 90).save(stream, format="PNG")
    return stream.getvalue()


_SOUND = {"typeset": typeset_pdf(7)[0], "raw": raw_pdf(*[shown("Some text 12,50", 40, 200)] * 3), "png": _png()}

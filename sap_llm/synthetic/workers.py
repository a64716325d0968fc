"""Worker processes of the generator: what each does first, and work on many things in their order.

Belongs here: keeping a worker to its core, ending it with its parent, and running ahead without losing the order. What
the work is, is the caller's (`stage`, `folder`, `contact_sheet`, `diversity`).
"""

import gc
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")

_RARELY = (50_000, 20, 100)
_AHEAD = 8  # pieces a worker may be ahead of the one that is waited for


def in_order(work: Callable[[S], T], pieces: Iterable[S], *, workers: int) -> Generator[T]:
    """`work` on every piece, in the order of the pieces; closing the iterator gives up what was begun ahead.

    Args:
        work: A function that a process can be sent: of a module, or `functools.partial` of one.
        pieces: May be endless.
        workers: Processes; with one, the work is done here.
    """
    if workers == 1:
        yield from map(work, pieces)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_become_worker) as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for piece in pieces:
                waiting.append(pool.submit(work, piece))
                if len(waiting) >= workers * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def rare_collections() -> Iterator[None]:
    """While a batch of documents is made: it has no cycles, but a hundred containers a document."""
    before = gc.get_threshold()
    gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _become_worker() -> None:
    """Collect garbage seldom, leave signals to the parent, and end when it ends.

    A worker waits for work on a pipe whose other end it holds as well, so it would outlive a killed parent for ever.
    """
    gc.set_threshold(*_RARELY)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, after what is in work
    parent = parent_process()
    assert parent is not None

    def leave() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()

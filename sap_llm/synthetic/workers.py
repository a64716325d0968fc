"""What every worker process of the generator does first.

Belongs here: keeping a worker to its core and ending it with its parent. Which work it gets is the caller's (`stage`,
`request`).
"""

import os
import threading
from multiprocessing import parent_process


def become_worker() -> None:
    """Keep Typst from starting threads, for the other workers have the other cores; end when the parent ends.

    A worker waits for work on a pipe whose other end it holds as well, so it would outlive a killed parent for ever.
    """
    os.environ["RAYON_NUM_THREADS"] = "1"
    parent = parent_process()
    assert parent is not None

    def leave() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()

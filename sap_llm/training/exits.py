"""How a rank ends: exit codes that its launcher, Dagster and Kubernetes understand.

Belongs here: the codes and the translation of errors into them. What follows from a code (a retry, a smaller
micro-batch, an alert) is decided by whoever launched the rank.
"""

import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sap_llm.schema.errors import SapLlmError
from sap_llm.training.monitor import TrainingDivergedError

OUT_OF_MEMORY = 75
"""An allocation failed: the same again would fail again, a smaller micro-batch may not."""
DIVERGED = 76
"""Loss or gradients are no numbers: the same again would end the same way."""
STOPPED = 128 + signal.SIGTERM
"""Asked to stop, and a checkpoint was saved."""
KILLED = 128 + signal.SIGKILL
"""By the kernel for want of memory, or by a person."""


class TrainingStoppedError(SapLlmError):
    """The ranks were asked to stop and have saved a checkpoint."""


@contextmanager
def exit_codes() -> Iterator[None]:
    """End the process with the code of the error that leaves the block; other errors pass."""
    try:
        yield
    except TrainingDivergedError as error:
        _end(DIVERGED, error)
    except TrainingStoppedError as error:
        _end(STOPPED, error)
    except MemoryError as error:
        _end(OUT_OF_MEMORY, f"out of memory: {error}")
    except RuntimeError as error:  # torch's own error of a GPU is one, and its CPU allocator knows no other
        if not is_out_of_memory(error):
            raise
        _end(OUT_OF_MEMORY, f"out of memory: {error}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or a CPU."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said


def worst(codes: Iterable[int | None]) -> int | None:
    """The failure that explains the others, None where no process failed.

    A rank that lost another one ends with an error of its own, so one that was killed or knew its trouble counts first.
    """
    failed = [code for code in codes if code]
    return min(failed, key=lambda code: (code not in {OUT_OF_MEMORY, DIVERGED} and code > 0, code), default=None)


def meaning(code: int) -> int:
    """The exit code as a shell shows it: `Popen` says -9 for 137, and DeepSpeed's launcher passes it on as 247."""
    if code < 0:
        return 128 - code
    return 128 + 256 - code if 256 - code in {signal.SIGKILL, signal.SIGTERM} else code


def _end(code: int, said: object) -> None:
    sys.stderr.write(f"{str(said).splitlines()[0]}\n")
    sys.stderr.flush()
    raise SystemExit(code)

"""A Pipes session for a training program, wherever it runs: by files of this machine, or by an object store.

Belongs here: Dagster's side of the session. The program's side is `sap_llm.training.channel`; where programs run is
`sap_llm.training.trainer`. Dagster's own clients for S3 are in dagster-aws, which brings boto3 for two small classes;
these speak through fsspec, as the dataset store does.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
import fsspec

from resources.pipes import Follower, Message

_SECONDS = 5.0  # between two looks at the store; the program uploads every ten
Tick = Callable[[], None]


class TrainingSession:
    """The `Session` of `run_to_end` by Dagster Pipes.

    Every attempt has a session of its own: a program that starts anew counts its messages from 1 again.
    """

    def __init__(
        self, context: dg.OpExecutionContext, *, messages: str, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        """Prepare; opens nothing.

        Args:
            context: Of the op.
            messages: `s3://bucket/prefix`, or empty for files of this machine.
            storage_options: For fsspec, as of the deployment.
        """
        self._context, self._messages, self._options = context, messages, dict(storage_options or {})
        self._attempt = 0

    @contextmanager
    def __call__(self, hear: Callable[[Message], None]) -> Iterator[tuple[Mapping[str, str], Tick]]:
        """Open one session; messages that came to its end are heard."""
        self._attempt += 1
        with dg.open_pipes_session(
            context=self._context, context_injector=self._injector(), message_reader=self._reader()
        ) as session:
            follower = Follower(session, hear)
            yield session.get_bootstrap_env_vars(), follower
        follower()

    def _injector(self) -> dg.PipesContextInjector:
        if not self._messages:
            return dg.PipesTempFileContextInjector()
        return ObjectStoreContextInjector(f"{self._folder}/context.json", self._options)

    def _reader(self) -> dg.PipesMessageReader:
        if not self._messages:
            return dg.PipesTempFileMessageReader()
        return ObjectStoreMessageReader(f"{self._folder}/messages", self._options)

    @property
    def _folder(self) -> str:
        context = self._context
        return f"{self._messages}/{context.run.run_id}/{context.op_def.name}/{context.retry_number}-{self._attempt}"


class ObjectStoreContextInjector(dg.PipesContextInjector):
    """Writes the context to an object, and removes it with the session."""

    def __init__(self, url: str, storage_options: Mapping[str, Any]) -> None:
        self._files, self._path = fsspec.core.url_to_fs(url, **storage_options)

    @contextmanager
    def inject_context(self, context: Any) -> Iterator[dict[str, str]]:
        """Bucket and key of the object."""
        self._files.pipe_file(self._path, json.dumps(context).encode())
        try:
            yield _location(self._path, "key")
        finally:
            self._files.rm_file(self._path)

    def no_messages_debug_text(self) -> str:
        """For a program that never said a word."""
        return f"The context was written to {self._path}."


class ObjectStoreMessageReader(dg.PipesBlobStoreMessageReader):
    """Reads the numbered chunks that a program uploads."""

    def __init__(self, url: str, storage_options: Mapping[str, Any]) -> None:
        super().__init__(interval=_SECONDS)
        self._files, self._path = fsspec.core.url_to_fs(url, **storage_options)
        self._files.use_listings_cache = False

    @contextmanager
    def get_params(self) -> Iterator[dict[str, str]]:
        """Bucket and prefix of the chunks."""
        yield _location(self._path, "key_prefix")

    def messages_are_readable(self, params: Mapping[str, Any]) -> bool:  # noqa: ARG002 - Dagster's signature
        """Always: a chunk is there or not yet."""
        return True

    def download_messages_chunk(self, index: int, params: Mapping[str, Any]) -> str | None:  # noqa: ARG002
        """One chunk, None where it is not there yet."""
        try:
            return bytes(self._files.cat_file(f"{self._path}/{index}.json")).decode()
        except FileNotFoundError:
            return None

    def no_messages_debug_text(self) -> str:
        """For a program that never said a word."""
        return f"Messages were looked for below {self._path}."


def _location(path: str, name: str) -> dict[str, str]:
    bucket, _, key = path.partition("/")
    return {"bucket": bucket, name: key}

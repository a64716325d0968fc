"""The launched side of a Dagster Pipes session: files of this machine, or objects where the launcher is elsewhere.

Belongs here: choosing between them by what the launcher said. What is reported is `report`; the launcher's side is
Dagster's (`resources.training_pipes`).
"""

from contextlib import AbstractContextManager
from typing import Any


def open_pipes() -> AbstractContextManager[Any]:
    """Open the session that the environment describes.

    A bucket in it means S3; endpoint and credentials come from the environment as botocore reads it (`AWS_...`).
    """
    from dagster_pipes import PipesEnvVarParamsLoader, PipesS3ContextLoader, PipesS3MessageWriter, open_dagster_pipes

    if "bucket" not in PipesEnvVarParamsLoader().load_context_params():
        return open_dagster_pipes()
    from botocore.session import get_session  # comes with s3fs; boto3's client is the same one

    client = get_session().create_client("s3")
    return open_dagster_pipes(context_loader=PipesS3ContextLoader(client), message_writer=PipesS3MessageWriter(client))

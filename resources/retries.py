"""Which steps Dagster tries again.

Belongs here: retry policies by kind of trouble. Errors meant for users are never retried (`DeploymentResource.open`),
nor is a closed door.
"""

import dagster as dg

LOCAL_PROCESS = "sap_llm/process"
"""Tag of runs in a terminal's own process. Dagster retries interrupted steps; there, Ctrl-C means stop."""

WHEN_SERVERS_FAIL = dg.RetryPolicy(max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For steps that talk to databases: a server that restarts is back within a minute."""

WHEN_PREEMPTED = dg.RetryPolicy(max_retries=1, delay=5)
"""For launched programs that resume from their checkpoints: what was done is not done again."""

"""What can be launched by name, and when: selections of assets and their schedules.

Belongs here: named selections without logic. One job holds assets of one kind of partition, as Dagster requires; the
whole lineage in order is `sap_llm_dagster.local_run`, or Materialize all in the UI.
"""

from jobs.lineage import JOBS, SCHEDULES

__all__ = ["JOBS", "SCHEDULES"]

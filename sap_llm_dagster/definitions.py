"""Entry point of the code location: what `dg dev`, `dg launch` and `workspace.yaml` load. See `build.py`."""

import dagster as dg

from sap_llm_dagster.build import build_defs


@dg.definitions
def defs() -> dg.Definitions:
    """Everything, for the profile named by SAP_LLM_PROFILE."""
    return build_defs()

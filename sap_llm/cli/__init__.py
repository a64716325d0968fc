"""`sap-llm`: the command line, one module per group of verbs.

Belongs here: arguments, printing and exit codes. Every command calls one domain function; what it does lives in that
function's room. Dagster is not known here: `make dev` and `make demo` open that front door.
"""

from sap_llm.cli.app import main

__all__ = ["main"]

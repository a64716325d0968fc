"""The registry: verdicts of the gates, registered model versions and the champion.

Files under one root and MLflow, readable without Dagster and, for the champion and the verdicts, without MLflow too.
How a gate judges and who becomes champion is decided in `learning`.
"""

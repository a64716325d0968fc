"""SAP_LLM: the domain of a document-AI model for SAP business documents.

This package holds pure Python that has never heard of Dagster: schemas, storage, readers, generators, models,
training, evaluation, memory. Orchestration (assets, jobs, sensors) lives beside it in the top-level folders and
imports it; nothing here imports them.
"""

"""The common language of the house: tables, documents, fields, taxonomy, manifests, errors, clock.

Types and data that two rooms share belong here. Anything that opens a file of the pipeline, a socket or a model does
not: files go to `storage`, clients to `deployment`, models to `modeling`.
"""

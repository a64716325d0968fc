"""Training an adapter for each document stage on the frozen instructed model.

Belongs here: the tasks with their targets, the program, the stage. What serving needs of adapters is
`sap_llm.modeling.adapters`; what the stages are is `sap_llm.schema.document_stages`.
"""

"""Main scripts for spark-submit: argument in, one call into `sap_llm`, nothing else."""

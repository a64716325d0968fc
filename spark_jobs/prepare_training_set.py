"""Main script of the preparation job: `spark-submit spark_jobs/prepare_training_set.py --plan FILE`.

Belongs here: nothing but the call. The job is `sap_llm.preparation.job`; the stage writes the plan.
"""

from sap_llm.preparation.job import main

if __name__ == "__main__":
    main()

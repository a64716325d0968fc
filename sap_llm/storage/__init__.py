"""Dataset versions on disk or object storage: written once, complete or absent, named by what made them.

Committing, finding, hashing and reading datasets belongs here. What the rows mean does not (`schema`), nor who
launches a build (`deployment`, assets, CLI).
"""

"""From annotated documents to a training set: frozen composition, cleaning, features, splits, expectations.

Belongs here: what decides which documents train, validate and test. Making or annotating documents does not
(`sources`, `synthetic`, `annotation`), nor does the encoding of words into numbers (`modeling.shards`).
"""

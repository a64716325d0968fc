"""How good a model is, on which documents, and why: scores that explain themselves.

Belongs here: comparing predicted with true annotations (fields, line items, classes), calibration, averages over groups
of near-duplicates, the label-keyword baseline and the evaluation report. What a prediction is made of belongs to
`modeling`; whether a model is good enough belongs to `learning`.
"""

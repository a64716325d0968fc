"""What is known and what is believed about each document, in one schema.

Belongs here: bringing truths together, pre-annotating documents by a model or the label rules, and people's work: the
desk where they answer, agreement, arbitration. Training data preparation is `preparation`.
"""

"""What is known and what is believed about each document, in one schema.

Belongs here: bringing truths together and pre-annotating documents by a model or the label rules. People's work
(Label Studio, agreement, arbitration) joins this room; training data preparation is `preparation`.
"""

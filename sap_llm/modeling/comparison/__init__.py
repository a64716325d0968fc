"""The stage `base_comparison`: candidates for the base model on the same sample and the same hardware.

Belongs here: which candidates there are, measuring them in a process of its own, what their tokenizers keep of the
languages, and the matrix. The candidates' networks are `modeling.backbones`; the quality of trained ones is measured by
the stage `model_evaluation`.
"""

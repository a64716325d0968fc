"""The document model: words and boxes in, class, subtype, fields and line items out.

Belongs here: features, encoder, heads, runtimes, decoding, confidence and the `Predictor` that serving, evaluation and
annotation call. How weights come about belongs to `training` and `compression`; how well they do, to `evaluation`.
"""

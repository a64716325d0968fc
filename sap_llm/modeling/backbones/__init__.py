"""Backbones: families of networks behind one protocol, each from a shape with random weights or from a checkpoint.

Belongs here: shapes, networks and the registry of sizes of the families that read words (`layoutlmv3`, `qwen_reader`),
that write answers (`donut`), and of the light model that triages before either (`doc_router`). The compact encoder is
`modeling.encoder`, the heads are `modeling.heads`, and the vision-language model itself is `modeling.qwen`.
"""

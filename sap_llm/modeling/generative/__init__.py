"""The generative path: documents as conversations with a vision-language model, answers as JSON by a schema.

Belongs here: what training and inference share, so that a model reads what it was taught on. The model itself is
`modeling.qwen`; making instruction pairs and training on them is `sap_llm.training`.
"""

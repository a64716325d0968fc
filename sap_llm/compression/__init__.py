"""Smaller and faster variants of a model, each measured against its parent and refused when it is no gain.

Belongs here: export, quantisation, and the gate of a variant. Training is `training`, running a variant is `modeling`,
releasing one is `registry`.
"""

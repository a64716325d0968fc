"""Damage to pictures and to OCR text that carries every box and label along.

Belongs here: what scanners, telephones, fax lines, rubber stamps and OCR engines do to a page, and where its words are
afterwards. Damage to features inside a training step is `training.augment`; drawing clean pages is `synthetic`.
"""

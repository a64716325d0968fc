"""Synthetic business documents: closed worlds of facts, layouts drawn by grammar, typeset pages with exact boxes.

Making facts (`facts`), drawing styles (`style`, `labels`), composing pages (`blocks_*`, `layouts`) and reading boxes
back (`typeset`) belong here. Damaging images does not (`augmentation`), nor turning documents into features
(`modeling`).
"""

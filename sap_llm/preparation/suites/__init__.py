"""Suites of Great Expectations for the release datasets, judged group by group.

Belongs here: expectations as data, the flat views that they look at, the engines and the pages for people. Recording a
verdict is `learning.judges`.
"""

"""Telling people and other systems what happens in this house.

Belongs here: ways out, such as a webhook. What is worth telling is decided by the rooms that see it; metrics and traces
of serving come here when serving does.
"""

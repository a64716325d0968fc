"""Learning from what people said: when to retrain, how gates judge, and which model becomes champion.

Policies and decisions, each a plain function that explains itself. Training is `training`, remembering is `pmg`,
keeping versions and verdicts is `registry`.
"""

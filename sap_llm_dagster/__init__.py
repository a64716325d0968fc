"""Composition root: the only package that sees every other one.

Belongs here: putting assets, checks, jobs, sensors and resources together. Logic of any kind does not.
"""

import warnings

import dagster as dg

# Code links and partitioned checks are used knowingly; deprecations and supersessions are never silenced.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

"""Training the document model: losses, batches, augmentation, the launched program, checkpoints and resuming.

Belongs here: everything between a training set and the weights that come out. The network itself is `modeling`; making
it smaller is `compression`; whether it is good enough is decided by `evaluation` and `registry`.
"""

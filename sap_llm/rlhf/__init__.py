"""Learning from what people preferred: preference pairs, a reward model, and policies trained by reward.

Pairs, rewards and the optimisers that follow them belong here. Recording what people said is `pmg`, deciding when to
train again is `learning`, supervised training is `training`.
"""

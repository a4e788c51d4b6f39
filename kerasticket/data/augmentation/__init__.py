"""Differentiable augmentation: the transforms, and the strategies of the papers."""

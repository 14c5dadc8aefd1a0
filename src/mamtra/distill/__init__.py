"""Distillation: the losses that bring a converted student back to its teacher."""

"""Attention to Mamba: the transfer of weights, whole directories, and which layers need their attention."""

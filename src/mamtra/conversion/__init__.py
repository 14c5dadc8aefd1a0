"""Attention to Mamba: the transfer of weights and whole directories."""

"""Attention to Mamba: the transfer of weights and whole directories.

The public name, `convert`, is exported by the package itself: here it would hide the module of that name.
"""

"""Devices, CUDA graphs and files, for all packages above."""

"""What every room needs from the machine: devices, CUDA graphs, files."""

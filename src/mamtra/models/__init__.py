"""The hybrid speech language model: layer plan, attention, Mamba-2 mixer, backbone, sequence layout, decode state."""

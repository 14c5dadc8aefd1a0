"""Numerical functions, each beside a naive reference: state-space duality, causal convolution, rotary embedding, norms."""

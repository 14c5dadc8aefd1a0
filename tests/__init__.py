"""Tests, one folder a stratum."""

"""Signals: files, formats, features, silence."""

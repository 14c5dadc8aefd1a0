"""Judging speech: sets, metrics, judges, score files, reports."""

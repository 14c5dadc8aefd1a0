"""Measurements that a user can repeat: each writes a JSON file and a page made from it."""

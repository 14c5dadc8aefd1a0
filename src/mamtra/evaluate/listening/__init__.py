"""Listening tests: pages that open offline, and what the answers say."""

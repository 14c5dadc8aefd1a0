"""The version of the package, for modules below the package root."""

VERSION = "0.1.0"

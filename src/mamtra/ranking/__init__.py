"""Which layers need their attention: criteria, calibration data, the ranking run."""

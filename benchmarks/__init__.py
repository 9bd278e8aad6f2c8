"""Measurements, on real servers, as ratios within one run."""

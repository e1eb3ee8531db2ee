"""Figures of what evaluations found: functions of arrays that return a matplotlib figure."""

"""Tickets, and models with masks: made, copied, saved, read, imported."""

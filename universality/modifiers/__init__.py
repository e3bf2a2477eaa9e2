"""Modifiers of any architecture. Each is a plugin."""

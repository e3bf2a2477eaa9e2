"""Recorders of a training. Each is a plugin; none of them changes what it observes."""

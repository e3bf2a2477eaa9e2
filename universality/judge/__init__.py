"""From trajectories to the table."""

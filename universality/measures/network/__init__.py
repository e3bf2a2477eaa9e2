"""What is read of a network without changing it."""

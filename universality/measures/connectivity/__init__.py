"""What lies between the weights of two networks."""

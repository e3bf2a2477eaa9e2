"""Power laws and their exponents."""

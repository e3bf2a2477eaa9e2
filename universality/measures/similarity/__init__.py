"""How alike two representations are, and what they share by chance."""

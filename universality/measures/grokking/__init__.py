"""Times of memorising and generalising, and what censored times say."""

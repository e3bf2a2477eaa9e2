"""A training of one's own, observed and judged while it runs: what `universality.watch` is made of."""

"""Whether a result set that somebody else made holds together.

Everything is recomputed that can be without executing anything from the set: ids from what was asked,
hashes of recordings, verdicts and tables from measurements. What cannot be recomputed is noted.
"""

from universality.audit.command import audit, show

__all__ = ["audit", "show"]

"""Which behaviours of deep learning are universal? A benchmark that answers by measurement.

    from universality import run, report, compare, leaderboard, watch, assess, replay

Names load what they need when they are first used; none of them loads torch but `run`, `worker`, `watch`, `assess` and
`replay`.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # names: __init__.pyi

"""Which behaviours of deep learning are universal? A benchmark that answers by measurement."""

__version__ = "0.1.0"

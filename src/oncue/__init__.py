"""oncue: proactive video models that watch a stream and decide by themselves when to speak."""

__version__ = "0.1.0"

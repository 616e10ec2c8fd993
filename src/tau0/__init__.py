"""τ0: one predictive model of video and action that lets a robot imagine before it acts."""

__version__ = "0.1.0"

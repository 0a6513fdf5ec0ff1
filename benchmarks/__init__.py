"""Side-by-side measurements, each a command that prints medians and a ratio. Never imported by the platform."""

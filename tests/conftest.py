"""What all tests share."""

from hypothesis import HealthCheck, settings

from assets.quiet import quiet_exit

quiet_exit()

# Machines are noisy: a slow draw is not a failure.
settings.register_profile("noisy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("noisy")

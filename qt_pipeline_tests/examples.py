"""How many examples a property is tried with: 100, as hypothesis would, in `make test`; 1,000 in `make test-long`.

No example has a deadline: time never decides a test.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("quick", deadline=None)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1000)


def few_examples() -> settings:
    """A fourth of the profile's examples: for properties whose examples are files, databases or threads."""
    return settings(
        max_examples=settings.default.max_examples // 4,
        # An example takes a name of its own in what a fixture gives it.
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )

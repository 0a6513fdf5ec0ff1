"""The point-in-time join written so that anyone can see that it is right. Slow: rows look at all versions."""


def known_at(version):
    return max(version["event_timestamp"], version["created_timestamp"])


def value_at(history, key, moment, ttl):
    """Return the feature value `v` of entity `key` as known at `moment`, None if nothing valid was known."""
    if key is None:
        return None
    known = [version for version in history if version["key"] == key and known_at(version) <= moment]
    winner = None
    for version in known:
        if winner is None or _order(version) >= _order(winner):
            winner = version
    if winner is None or (ttl and moment - winner["event_timestamp"] > ttl):
        return None
    return winner["v"]


def _order(version):
    return version["event_timestamp"], version["created_timestamp"]

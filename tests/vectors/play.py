"""Scenarios played once each; what they showed is kept for every comparison with it."""

from collections.abc import Callable

from tests.vectors.comparison import Comparison, compare
from tests.vectors.observation import Observation
from tests.vectors.scenario import Scenario
from tests.vectors.surface import Surface
from tests.vectors.vector_file import SWITCHES, Vector
from tests.vectors.wire import Refused


class Player:
    """Plays vectors on a server; `new_organization` makes one and tells its key, `policy` holds by default."""

    def __init__(self, url: str, new_organization: Callable[[str], str], policy: dict[str, str]) -> None:
        self._url = url
        self._new_organization = new_organization
        self._policy = policy
        self._played: dict[tuple[str, str | None], Observation | Refused] = {}
        self.unseen: dict[str, list[str]] = {}

    def compared(self, vector: Vector, switch: str | None) -> Comparison | Refused:
        """Play a vector, unless it was played, and compare; or tell what the server refused."""
        key = vector.id, switch
        if key not in self._played:
            self._played[key] = self._play(vector, switch)
        shown = self._played[key]
        if isinstance(shown, Refused):
            return shown
        found = compare(vector.then(switch), shown)
        if found.unseen:
            self.unseen[vector.id] = found.unseen
        return found

    def _play(self, vector: Vector, switch: str | None) -> Observation | Refused:
        surface = Surface(self._url, self._new_organization(vector.id))
        try:
            return Scenario(surface, vector, switch, self.settings(switch)).run()
        except Refused as refusal:
            return refusal
        finally:
            surface.close()

    def settings(self, switch: str | None) -> dict[str, str]:
        """Tell the organization's settings that differ from the product's own defaults (R-GEN-9 needs none)."""
        policy = dict(self._policy)
        if switch is not None:
            name, _, value = switch.partition("=")
            policy[name] = value
        return {name: value for name, value in policy.items() if value != SWITCHES[name][0]}

"""What AI models cost and when: names of models, and the price in force at an instant. Pure.

Owns how a model's name is read (R-AI-6) and which of its dated prices holds (R-AI-8). Invariants: prices are added and
never changed; an organization sees the catalog's prices and its own overrides, never another's. A seller's price
under a bare name that the catalog did not know is of `own/NAME`. Once the catalog knows the name it is an override of
the model that the name means; one under that model's whole name goes before it.
"""

import re
from bisect import bisect_right, insort
from collections.abc import Iterable
from typing import Final

from msgspec import structs

from catalog.definition import ModelPrice
from kernel.errors import Refusal

# Other words for a provider, as gateways and client libraries write them.
_PROVIDERS: Final = {
    "amazon": "aws",
    "amazon-bedrock": "aws",
    "bedrock": "aws",
    "meta-llama": "meta",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "vertex": "google",
    "xai": "x-ai",
    "z-ai": "zai",
}
# Who makes the models of a name, for a bare name that several providers serve.
_MAKERS: Final = (
    (("claude",), "anthropic"),
    (("gpt", "o1", "o3", "o4", "chatgpt", "codex", "text-embedding"), "openai"),
    (("gemini", "gemma"), "google"),
    (("llama", "muse"), "meta"),
    (("mistral", "mixtral", "ministral", "magistral", "codestral", "devstral", "pixtral", "open-mi"), "mistral"),
    (("command", "c4ai", "aya"), "cohere"),
    (("deepseek",), "deepseek"),
    (("grok",), "x-ai"),
    (("glm",), "zai"),
    (("kimi", "moonshot"), "moonshotai"),
    (("minimax",), "minimax"),
    (("sonar",), "perplexity"),
    (("nova", "amazon"), "aws"),
)
_DATED: Final = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2}|latest)$")
MODEL_CHARS_MAX: Final = 200
OWN: Final = "own"  # the provider of a seller's model whose name came without one
_NAMED_MAX: Final = 5

_Scope = bytes | None
_Timeline = list[ModelPrice]


def model_name(text: str) -> tuple[str | None, str]:
    """Split a model's name at its first slash into provider and name; a bare one has no provider (R-AI-6)."""
    head, slash, rest = text.strip().lower().partition("/")
    return (_PROVIDERS.get(head, head), rest) if slash else (None, head)


def spellings(name: str) -> tuple[str, ...]:
    """Tell what a name may stand in the catalog as: itself, `-` for `.` and `@`, and that without its date."""
    plain = name.replace(".", "-").replace("@", "-")
    return name, plain, _DATED.sub("", plain)


def _maker(name: str) -> str | None:
    return next((who for starts, who in _MAKERS if name.startswith(starts)), None)


class ModelPriceBook:
    """All dated prices, by model. It only grows."""

    def __init__(self) -> None:
        self._timelines: dict[tuple[_Scope, str], _Timeline] = {}
        self._names: dict[tuple[_Scope, str, str], set[str]] = {}
        self._bare: dict[tuple[_Scope, str], set[str]] = {}
        self._own: dict[_Scope, set[str]] = {}

    def take(self, prices: Iterable[ModelPrice]) -> None:
        """Add prices; one that is there already changes nothing."""
        for price in prices:
            timeline = self._timelines.setdefault((price.organization, price.model), [])
            if any(_place(one) == _place(price) for one in timeline):
                continue
            insort(timeline, price, key=_place)
            for name in (price.name, *price.aliases):
                for spelled in spellings(name)[:2]:
                    self._names.setdefault((price.organization, price.provider, spelled), set()).add(price.model)
            if price.provider == OWN:
                self._own.setdefault(price.organization, set()).add(price.model)
                continue
            for spelled in spellings(price.name)[:2]:
                self._bare.setdefault((price.organization, spelled), set()).add(price.model)

    def resolve(self, organization: bytes, text: str) -> str | Refusal:
        """Tell which model a name means (R-AI-6): an exact name before another spelling, an own model first.

        A bare name means its maker's model, or the only one of that name, else the seller's own one that has no
        provider; so does the maker's name with it. Refusal `model_not_found`.
        """
        provider, name = model_name(text)
        meant = self._meant(organization, text)
        if provider not in (None, _maker(name)):
            return meant
        own = self._names_one(organization, OWN, spellings(name)[:2])
        return meant if own is None or (isinstance(meant, str) and self._names_same(organization, own, meant)) else own

    def _meant(self, organization: bytes, text: str) -> str | Refusal:
        """Tell which model a name means beside the seller's own ones that have no provider."""
        provider, name = model_name(text)
        maker = _maker(name) if provider is None else provider
        if maker is not None and (model := self._names_one(organization, maker, spellings(name))) is not None:
            return model
        for spelled in spellings(name) if provider is None else ():
            found = {model for scope in (organization, None) for model in self._bare.get((scope, spelled), ())}
            if len(found) == 1:
                return next(iter(found))
            if found:
                return _unknown(text, f"It means several ({', '.join(sorted(found)[:_NAMED_MAX])}): name one of them.")
        return _unknown(text, "Name one of GET /ai-models.")

    def _names_one(self, organization: bytes, provider: str, spelled_so: Iterable[str]) -> str | None:
        for spelled in spelled_so:
            for scope in (organization, None):
                model = _one_of(self._names.get((scope, provider, spelled), set()), spelled)
                if model is not None:
                    return model
        return None

    def _names_same(self, organization: bytes, own: str, model: str) -> bool:
        """Tell whether a seller's model without a provider has a name of `model`, not that of an undated one."""
        name, provider = own.partition("/")[2], model.partition("/")[0]
        return self._names_one(organization, provider, spellings(name)[:2]) == model

    def find(self, organization: bytes, text: str, at_ms: int) -> ModelPrice | Refusal:
        """Tell the price of a model in force at an instant: the seller's own, else the catalog's (R-AI-8)."""
        model = self.resolve(organization, text)
        if isinstance(model, Refusal):
            return model
        found = self.in_force(organization, model, at_ms)
        return found or _unknown(text, "It has no price at that time.")

    def in_force(self, organization: bytes | None, model: str, at_ms: int) -> ModelPrice | None:
        """Tell the price of one model at an instant, without reading its name; None when there is none."""
        override = None if organization is None else self.override_in_force(organization, model, at_ms)
        if override is None:
            return self.own_in_force(None, model, at_ms)
        return override if override.model == model else structs.replace(override, model=model)

    def override_in_force(self, organization: bytes, model: str, at_ms: int) -> ModelPrice | None:
        """Tell a seller's price of a model at an instant: under its whole name, else under a bare one that means it.

        It tells the name that it was made under. None when there is none, or it has ended.
        """
        named = (model, *self._bare_overrides(organization, model))
        return next(filter(None, (self.own_in_force(organization, one, at_ms) for one in named)), None)

    def _bare_overrides(self, organization: bytes, model: str) -> list[str]:
        """List the seller's models without a provider whose name means `model`."""
        return sorted(
            own
            for own in self._own.get(organization, ())
            if own != model
            and self._names_same(organization, own, model)
            and self.resolve(organization, own.partition("/")[2]) == model
        )

    def own_in_force(self, organization: _Scope, model: str, at_ms: int) -> ModelPrice | None:
        """Tell the price of one scope and name alone at an instant; None when it has none or its override has ended."""
        timeline = self._timelines.get((organization, model), [])
        before = bisect_right(timeline, at_ms, key=_since)
        return timeline[before - 1] if before and not timeline[before - 1].ended else None

    def overrides(self, organization: bytes, model: str) -> list[ModelPrice]:
        """List all dated prices that a seller set for a model, under its whole name or a bare one that means it."""
        named = (model, *self._bare_overrides(organization, model))
        return [price for one in named for price in self.timeline(organization, one)]

    def timeline(self, organization: bytes | None, model: str) -> tuple[ModelPrice, ...]:
        """Tell all dated prices of a model in one scope, oldest first."""
        return tuple(self._timelines.get((organization, model), ()))

    def last_recorded(self, price: ModelPrice) -> ModelPrice:
        """Return a price that is to be added so that it holds: of one instant each later one is recorded later."""
        known = self._timelines.get((price.organization, price.model), ())
        recorded = (one.recorded_ms + 1 for one in known if one.since_ms == price.since_ms)
        return structs.replace(price, recorded_ms=max([price.recorded_ms, *recorded]))

    def models(self, organization: bytes | None) -> list[str]:
        """Tell the models that an organization can name, in order; None: those of the catalog."""
        known = {model for scope, model in self._timelines if scope in (None, organization)}
        if organization is not None:
            known -= {own for own in self._own.get(organization, ()) if self._means_another(organization, own)}
        return sorted(known)

    def _means_another(self, organization: bytes, own: str) -> bool:
        return self.resolve(organization, own.partition("/")[2]) != own


def _one_of(found: set[str], spelled: str) -> str | None:
    """Choose among a provider's models of one spelling: the only one, or the one of exactly that name."""
    exact = {model for model in found if model.partition("/")[2] == spelled}
    chosen = exact or found
    return next(iter(chosen)) if len(chosen) == 1 else None


def _unknown(text: str, why: str) -> Refusal:
    return Refusal(code="model_not_found", message=f"There is no model {text[:MODEL_CHARS_MAX]}. {why}", param="model")


def _place(price: ModelPrice) -> tuple[int, int]:
    return price.since_ms, price.recorded_ms


def _since(price: ModelPrice) -> int:
    return price.since_ms

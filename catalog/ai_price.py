"""A dated price of an AI model, as a value. Pure. Public by `catalog.definition`."""

import msgspec


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What an AI model's tokens cost from `since_ms` on: USD per million tokens, decimal strings (R-AI-7, R-AI-8).

    `model` is `provider/name`. `organization` is None for the catalog's price, else whose override it is. A cache price
    that is missing falls back to the input price (R-AI-5). `version` names the edition that the price came from, and
    `recorded_ms` says when it was taken in: of two prices since the same instant the later recorded one holds. With
    `ended` an override ends there, and the catalog's price holds again. `aliases` are other names of the model.
    """

    model: str
    since_ms: int
    input: str
    output: str
    version: str
    cache_read: str | None = None
    cache_write: str | None = None
    organization: bytes | None = None
    recorded_ms: int = 0
    ended: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def provider(self) -> str:
        """Tell who serves the model: what stands before the first slash."""
        return self.model.partition("/")[0]

    @property
    def name(self) -> str:
        """Tell the model's name at its provider; it may have slashes itself."""
        return self.model.partition("/")[2]

    @property
    def cache_read_price(self) -> str:
        """Tell what a token read from the cache costs: its own price, else the input price (R-AI-5)."""
        return self.input if self.cache_read is None else self.cache_read

    @property
    def cache_write_price(self) -> str:
        """Tell what a token written to the cache costs: its own price, else the input price (R-AI-5)."""
        return self.input if self.cache_write is None else self.cache_write

    @property
    def four(self) -> tuple[str, str, str | None, str | None]:
        """Tell the four prices as the source gives them: input, output, cache read, cache write."""
        return self.input, self.output, self.cache_read, self.cache_write

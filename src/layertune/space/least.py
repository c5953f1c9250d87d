"""The smallest settings that may still fit while none has. A refusal rules out settings that need at least as much."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from operator import add, le

from layertune.settings import KEPT_ON_HOST, SWITCHES, TENSOR_OVERRIDES, EngineSettings, SplitSettings
from layertune.space.feasible import NEVER, FeasibleSpace
from layertune.space.search_space import TENSOR_SPLIT, SearchSpace

# The file, flash attention, the cache types, the switches and the overrides. Which of them needs more memory is not
# known for certain.
_Kind = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Needs:
    """The needs of one model or all: planned bytes on each device, and the settings that memory grows with."""

    bytes_on: tuple[int, ...]
    sizes: tuple[int, ...]

    def __add__(self, other: "_Needs") -> "_Needs":
        bytes_on = tuple(map(add, self.bytes_on, other.bytes_on))
        return _Needs(bytes_on, self.sizes + other.sizes)

    def least(self, other: "_Needs") -> "_Needs":
        return _Needs(tuple(map(min, self.bytes_on, other.bytes_on)), tuple(map(min, self.sizes, other.sizes)))

    def at_most(self, other: "_Needs") -> bool:
        return all(map(le, self.bytes_on, other.bytes_on)) and all(map(le, self.sizes, other.sizes))

    @property
    def order(self) -> tuple[int, int]:
        return sum(self.bytes_on), sum(self.sizes)


@dataclass(frozen=True, slots=True)
class _Group:
    """One model's settings of one kind: a lower bound of their needs, and the setting that needs the least."""

    kind: _Kind
    least: _Needs
    smallest: EngineSettings
    order: tuple[int, int]


class LeastSettings:
    """The smallest setting of each kind.

    Without `feasible`, settings are compared by their numbers: fewer layers on the device, more tensors of them kept on
    the host, a smaller context and physical batch.
    """

    def __init__(self, space: SearchSpace, feasible: FeasibleSpace | None) -> None:
        self._space = space
        self._feasible = feasible if feasible is not None and feasible.has_devices else None
        # Without a plan it is unknown which of several devices refused.
        self._is_known = self._feasible is not None or all(each.field != TENSOR_SPLIT for each in space.dimensions)
        self._groups = [self._groups_of(name) for name in space.models]

    def left(self, too_large: Iterable[SplitSettings], capacities: Sequence[int] | None = None) -> SplitSettings | None:
        """Return the smallest setting that may still fit although `too_large` did not; None if there is none.

        Args:
            too_large: settings that did not fit.
            capacities: the bytes that buffers may take of each device; None: the budget without any correction.
        """
        refused: dict[tuple[_Kind, ...], list[_Needs]] = {}
        for settings in too_large if self._is_known else ():
            refused.setdefault(tuple(_kind(engine) for _, engine in settings.items()), []).append(self.needs(settings))
        if capacities is None and self._feasible is not None:
            capacities = self._feasible.capacities
        for groups in _in_order(self._groups):
            least = _sum(group.least for group in groups)
            if capacities is not None and sum(group.order[0] for group in groups) > sum(capacities):
                return None  # neither this one nor any after it is planned to fit
            fits = capacities is None or all(map(le, least.bytes_on, capacities))
            kinds = tuple(group.kind for group in groups)
            if fits and not any(each.at_most(least) for each in refused.get(kinds, ())):
                names = self._space.models
                return SplitSettings.of({name: each.smallest for name, each in zip(names, groups, strict=True)})
        return None

    def needs(self, settings: SplitSettings) -> _Needs:
        return _sum(self._needs(name, engine) for name, engine in settings.items())

    def _groups_of(self, name: str) -> list[_Group]:
        """Return the groups of one model, the smallest first."""
        groups: dict[_Kind, _Group] = {}
        for engine in self._space.engines(name):
            needs, kind = self._needs(name, engine), _kind(engine)
            if engine.impossible() is not None or any(n_bytes >= NEVER for n_bytes in needs.bytes_on):
                continue
            group = groups.get(kind)
            if group is None:
                groups[kind] = _Group(kind, needs, engine, needs.order)
                continue
            is_smaller = needs.order < group.order
            groups[kind] = _Group(
                kind,
                needs.least(group.least),
                engine if is_smaller else group.smallest,
                min(needs.order, group.order),
            )
        return sorted(groups.values(), key=lambda group: group.order)

    def _needs(self, name: str, engine: EngineSettings) -> _Needs:
        n_layer = self._space.n_layer(name, engine)
        canonical = engine.canonical(n_layer)
        sizes = (canonical.n_ctx, canonical.n_ubatch)
        if self._feasible is not None:
            return _Needs(self._feasible.device_bytes(name, engine), sizes)
        n_host_layers = n_layer + 1 - canonical.n_gpu_layers
        kept = (-max(getattr(canonical, name), n_host_layers) for name in KEPT_ON_HOST)
        return _Needs((), (canonical.n_gpu_layers, *kept, *sizes))


def _kind(engine: EngineSettings) -> _Kind:
    fields = ("file", "flash_attn", "type_k", "type_v", *SWITCHES, TENSOR_OVERRIDES)
    return tuple(str(engine.written(field)) for field in fields)


def _sum(needs: Iterable[_Needs]) -> _Needs:
    first, *others = needs
    return sum(others, start=first)


def _in_order(groups: Sequence[Sequence[_Group]]) -> Iterator[tuple[_Group, ...]]:
    """Yield every choice of one group for each model, the smallest first."""
    if not all(groups):
        return

    def push(places: tuple[int, ...]) -> None:
        chosen = [each[place] for each, place in zip(groups, places, strict=True)]
        heappush(waiting, (tuple(map(sum, zip(*(group.order for group in chosen), strict=True))), places))
        seen.add(places)

    waiting: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    seen: set[tuple[int, ...]] = set()
    push((0,) * len(groups))
    while waiting:
        _, places = heappop(waiting)
        yield tuple(each[place] for each, place in zip(groups, places, strict=True))
        for model, place in enumerate(places):
            after = (*places[:model], place + 1, *places[model + 1 :])
            if place + 1 < len(groups[model]) and after not in seen:
                push(after)

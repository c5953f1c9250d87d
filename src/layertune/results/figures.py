"""What the figures of a result.json may be.

No machine has measured anything beyond these bounds, and sums, ratios and pictures of such figures overflow.
"""

from typing import Annotated

from pydantic import AfterValidator, Field, PlainSerializer

from layertune.models.hparams import MAX_LAYERS
from layertune.settings import EngineSettings

_MOST_BYTES = 2**53  # 8 PiB, and each number below it is exact as a float
_MOST = 2**31 - 1
_MOST_FLOAT = 1e15

Bytes = Annotated[int, Field(ge=0, le=_MOST_BYTES)]
BytesMore = Annotated[int, Field(ge=-_MOST_BYTES, le=_MOST_BYTES)]  # less, where negative
BytesOver = Annotated[float, Field(ge=-_MOST_BYTES, le=_MOST_BYTES)]  # over a limit, kept where at most 0
Count = Annotated[int, Field(ge=0, le=_MOST)]
Number = Annotated[int, Field(ge=0, le=_MOST)]  # of a trial
# Of settings in a space, and seeds: no float is made of them.
Large = Annotated[int, Field(ge=0, le=10**100)]
AtLeastOne = Annotated[int, Field(ge=1, le=_MOST)]
LayerCount = Annotated[int, Field(ge=1, le=MAX_LAYERS)]  # repeating ones
Figure = Annotated[float, Field(ge=-_MOST_FLOAT, le=_MOST_FLOAT)]
NotNegative = Annotated[float, Field(ge=0, le=_MOST_FLOAT)]


def _in_range(engine: EngineSettings) -> EngineSettings:
    why = engine.out_of_range()
    if why is not None:
        raise ValueError(why)
    return engine


# With one device tensor_split is no setting, and no key.
Engine = Annotated[EngineSettings, AfterValidator(_in_range), PlainSerializer(EngineSettings.as_dict)]

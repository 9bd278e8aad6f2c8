"""Makes records from a number, each from its own: repeatable one by one, and independent of hypothesis.

The recipes are text, not Python values: what matters is what no encoder would write.
"""

from collections.abc import Callable
from random import Random

from reconciliation.model import Origin, Record

Recipe = Callable[[Random], bytes | None]

ACTION = "user-enrolment-sync"
IDS = ("userId", "courseId", "batchId")

#: One record in so many is large, since it takes as long as hundreds of the others.
LARGE_ONE_IN = 2_000

_NUMBERS = (
    "0", "-0", "-0.0", "1", "-1", "1.5", "1e5", "1E+400", "-1e-400", "1e999999999999", "0.1e-999999999", "9" * 30,
    "-" + "9" * 400, "1" + "0" * 4300, "0." + "3" * 500, "NaN", "Infinity", "-Infinity", "01", "+1", ".5", "1.", "0x10",
    "1_000", "\u0661", "1e", "--1", "9007199254740993", "18446744073709551616",
)  # fmt: skip
_STRINGS = (
    '""', '" "', '"\\t\\n"', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud83d"', '"\\ud83d\\ude00"', '"\ufeffx"', '"\\u2028"',
    '"a\\u0000b"', '"\u202eabc"', '"\\u001b[2J"', "\"'; DROP TABLE user_enrolments; --\"", '"a:b:leafnodes"',
    '"<script>alert(1)</script>"', '"{{env}}"', '"%s%n"', '"../../etc"', '"\\/"', '"\\x"', '"\n"', '"\x00"', '"\x7f"',
    "'x'", '"unclosed', '"\u00a0\u2003"', '"ಕನ್ನಡ"', '"👩🏽‍🎓"', '"' + "x" * 1024 + '"', '"' + "x" * 1025 + '"',
    '"' + "ü" * 512 + '"', '"' + "ü" * 513 + '"', '"' + "y" * 5000 + '"',
)  # fmt: skip
_NAMES = (
    "edata", "action", *IDS, "eid", "object", "jobName", "failInfo", "event", "sha256", "", "\\u0000", "a\\u0000b",
    "\\ud800", "__proto__", "__type__", "userid", "USERID", "user\\u0049d",
)  # fmt: skip
_ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-7", "latin-1", "cp037", "shift_jis")
_BYTES = (
    b"", b" ", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf{}", b"{}", b"[]", b"null", b'{"edata":', b"\xed\xa0\x80",
    b"\xc0\xaf", b'{"edata":{}}\x00', b"\n\r\t {} \n", b"{}{}", b"\x1f\x8b\x08\x00", b"\x80\x04\x95",
    b"\xf4\x90\x80\x80", b'""', b"\x00{}",
)  # fmt: skip
_HEADERS = (
    "enrolment-reconciliation-repeated", "original-timestamp", "original-topic", "original-offset", "", "ü", "👩🏽‍🎓",
    "trace", "x" * 300,
)  # fmt: skip
_HEADER_VALUES = (None, b"", b"1", b"-1", b"9" * 50, b"9" * 5000, b"\xff", b"1_0", b" 7 ", b"\x00" * 20, b"NaN")


def make_record(seed: int, number: int) -> Record:
    """Give the record with this number: the same for the same seed, whatever was made before."""
    chance = Random(f"{seed}:{number}")
    recipes = _LARGE if chance.randrange(LARGE_ONE_IN) == 0 else _SMALL
    value = chance.choice(recipes)(chance)
    origin = Origin("topic", chance.randrange(3), number, chance.choice((0, 5, 1_683_556_693_275)))
    return Record(origin, _key(chance), value, _headers(chance))


def _key(chance: Random) -> bytes | None:
    kind = chance.randrange(20)
    if kind == 0:
        return None
    if kind == 1:
        return b""
    if kind == 2:
        return chance.randbytes(chance.choice((1, 300, 20_000)))
    return b"user"


def _headers(chance: Random) -> tuple[tuple[str, bytes | None], ...]:
    kind = chance.randrange(50)
    if kind > 9:
        return ()
    count = 3_000 if kind == 0 and chance.randrange(20) == 0 else kind
    return tuple((chance.choice(_HEADERS), chance.choice(_HEADER_VALUES)) for _ in range(count))


def _any_json(chance: Random, depth: int = 0) -> str:
    kind = chance.randrange(10)
    if kind < 3 or depth > 4:
        return chance.choice(_STRINGS)
    if kind < 5:
        return chance.choice(_NUMBERS)
    if kind < 7:
        return chance.choice(("null", "true", "false", "None", "undefined", ""))
    inner = [_any_json(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 7:
        return "[" + ",".join(inner) + "]"
    return "{" + ",".join(f'"{chance.choice(_NAMES)}":{each}' for each in inner) + "}"


def _fields(chance: Random, pairs: list[tuple[str, str]]) -> str:
    if chance.randrange(4) == 0:
        pairs += [(chance.choice(_NAMES), _any_json(chance)) for _ in range(chance.randrange(3))]
    if chance.randrange(6) == 0:
        # a name given twice
        name, content = chance.choice(pairs)
        pairs.append((name, chance.choice((content, _any_json(chance)))))
    chance.shuffle(pairs)
    colon = chance.choice((":", " : ", ":\n"))
    return "{" + ",".join(f'"{name}"{colon}{content}' for name, content in pairs) + "}"


def _event(chance: Random) -> str:
    """Write one of our events with at most a few things wrong in it."""
    action = chance.choice((f'"{ACTION}"', f'"{ACTION.upper()}"', f'"{ACTION}"', f'"{ACTION}"', '"other"', "null"))
    edata = [("action", action), ("iteration", chance.choice(("1", "1", "1", chance.choice(_NUMBERS))))]
    edata += [(name, _id(chance)) for name in IDS if chance.randrange(40)]
    event = [("eid", '"BE_JOB_REQUEST"'), ("edata", _fields(chance, edata))]
    return _fields(chance, event)


def _id(chance: Random) -> str:
    kind = chance.randrange(16)
    if kind == 0:
        return _any_json(chance)
    if kind < 3:
        return chance.choice(_STRINGS)
    return f'"do_{chance.randrange(10**6)}"'


def _mutated(chance: Random) -> bytes:
    value = bytearray(_event(chance).encode("utf-8", "surrogatepass"))
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(value) + 1)
        match chance.randrange(5):
            case 0:
                value[at : at + chance.randrange(1, 9)] = b""
            case 1:
                value[at:at] = chance.choice(_BYTES)
            case 2:
                value[at:at] = chance.randbytes(chance.randrange(1, 4))
            case 3:
                value[at : at + 1] = bytes([chance.randrange(256)])
            case _:
                value[at:at] = value[: chance.randrange(1, 40)]
    return bytes(value)


def _as_bytes(text: str, chance: Random) -> bytes:
    return text.encode(chance.choice(_ENCODINGS), "ignore")


def _nested(chance: Random, depths: tuple[int, ...]) -> bytes:
    depth = chance.choice(depths)
    opening, closing = chance.choice((("[", "]"), ('{"a":', "}"), ('[{"edata":', "}]")))
    closed = closing * (depth if chance.randrange(3) else depth - 1)
    return f'{{"deep":{opening * depth}1{closed},{_event(chance)[1:]}'.encode()


def _wrapped(chance: Random) -> bytes:
    """Write what looks like one of our own failed events."""
    info = _fields(chance, [("errorCode", '"X"'), (chance.choice(_NAMES), _any_json(chance))])
    pairs = [("edata", _any_json(chance)), ("jobName", chance.choice(('"enrolment-reconciliation"', "1")))]
    return _fields(chance, [*pairs, ("failInfo", info)]).encode()


_SMALL: tuple[Recipe, ...] = (
    lambda chance: _event(chance).encode(),
    lambda chance: _event(chance).encode(),
    _mutated,
    lambda chance: _any_json(chance).encode(),
    lambda chance: _as_bytes(_event(chance), chance),
    lambda chance: chance.randbytes(chance.randrange(60)),
    lambda chance: chance.choice(_BYTES),
    lambda chance: _nested(chance, (3, 100, 900)),
    _wrapped,
    lambda chance: f" {_event(chance)}\r\n".encode(),
    lambda _: None,
)

_LARGE: tuple[Recipe, ...] = (
    lambda chance: _event(chance).replace("do_", "x" * 1_000_000).encode(),
    lambda chance: _event(chance).replace("do_", "\\u0000" * 100_000).encode(),
    lambda chance: f'{{"n":{chance.choice(("", "-", "0.", "1e", "1e-"))}{"9" * 100_000},{_event(chance)[1:]}'.encode(),
    lambda chance: _nested(chance, (990, 1_000, 1_500, 10_000, 100_000)),
    lambda chance: chance.randbytes(1_100_000),
    lambda _: b"\x00" * 1_100_000,
    lambda chance: ("{" + ",".join(f'"k{at}":{at}' for at in range(20_000)) + f",{_event(chance)[1:]}").encode(),
    lambda chance: ('{"edata":' + "[" * chance.choice((1_000, 400_000))).encode(),
    lambda _: ("\u2028" * 350_000).encode(),
)

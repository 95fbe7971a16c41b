"""The generated policy bordereau: every shape of value that a loader gets wrong, in 50,000 believable rows.

Here: what is in a row. The same bytes on every machine, since a row is a function of its number alone.
Not here: how the file changes from version to version (see change).
"""

import struct
from datetime import date, timedelta
from hashlib import sha256

BORDEREAU_ROWS = 50_000

_EIGHT_NUMBERS = struct.Struct(">8I")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _cell(text: str) -> str:
    return _quoted(text) if any(special in text for special in '",\r\n') else text


_HEADERS = (
    "Policy Number",
    "Pol. #",
    "Insured Name",
    "Insured Address",
    "Contact Surname",
    "Region",
    "Class of Business",
    "Inception Date",
    "Expiry Date",
    "Date Signed",
    "Underwriting Quarter",
    "Currency",
    "Gross Premium",
    "Sum Insured",
    "Brokerage Rate",
    "Cancelled",
    "Settlement Reference",
    "2015:Q1",
    "Paid, to Date",
    "unnamed",
)
_INSURED_NAMES = tuple(
    map(
        _cell,
        (
            "Harbour View Hotels plc",
            "Smith, Jones & Partners",
            'The "Golden Lion" Inn',
            'O\'Brien, Walsh & Sons t/a "The Forge"',
            "東京海上運送株式会社",
            "شركة الخليج للتأمين",
            "Ελληνική Ναυτιλία",
            "Северный флот",
            "Müller & Söhne GmbH, Köln",
            "Café Zoë",
            "Cafe\u0301 Zoe\u0308",  # the same name in the other Unicode form: another text all the same
            "Sunny Days Nursery 🌞",
        ),
    )
)
# The first two hold a line break inside the quotes, as addresses pasted into a spreadsheet do.
_STREETS = ("{} Lime Street\nLondon", "{} Quai du Rhône\r\nGenève", "{} Harbour Road, Cork", "{} Castle Street")
_ADDRESSES = tuple(_cell(street.format(number)) for number in range(1, 100) for street in _STREETS)
_SURNAMES = ("Okafor", "NULL", "García", "nan", "Nguyen", "de la Cruz")
_REGIONS = ("EMEA", "NA", "APAC", "LATAM")
_CLASSES = ("Property", "Marine Cargo", "Cyber", "Motor Fleet", "D&O")
_CURRENCIES = ("GBP", "EUR", "USD", "JPY")
# Both blanks that CSV knows, and texts that some readers take for one.
_REMARKS = ("", _quoted(""), "N/A", "NULL", _cell("renewed, no claims"), _cell('see "Schedule 2"'))

_DAYS = tuple(date(2023, 1, 1) + timedelta(days=n) for n in range(1461))
_DAYS_COMPACT = tuple(f"{day:%Y%m%d}" for day in _DAYS)
_DAYS_ISO = tuple(day.isoformat() for day in _DAYS)
_DAYS_BRITISH = tuple(f"{day:%d/%m/%Y}" for day in _DAYS)
_QUARTERS = tuple(f"{day.year}-Q{(day.month + 2) // 3}" for day in _DAYS)


def _money(pence: int) -> str:
    return f"{pence // 100}.{pence % 100:02d}"


def _row(number: int) -> str:
    # A hash and not the random module, whose choices may differ from one Python release to the next.
    dice: tuple[int, ...] = _EIGHT_NUMBERS.unpack(sha256(b"row %d" % number).digest())
    a, b, c, d, e, f, g, h = dice
    inception = 60 + a % 1000
    paid = d % 2_000_000
    return ",".join(
        (
            f"{a % 10**8:010d}",
            f"{1000 + number}",
            _INSURED_NAMES[b % len(_INSURED_NAMES)],
            _ADDRESSES[c % len(_ADDRESSES)],
            _SURNAMES[e % len(_SURNAMES)],
            _REGIONS[f % len(_REGIONS)],
            _CLASSES[g % len(_CLASSES)],
            _DAYS_COMPACT[inception],
            _DAYS_ISO[inception + 364],
            _DAYS_BRITISH[inception - b % 60],
            _QUARTERS[inception],
            _CURRENCIES[h % len(_CURRENCIES)],
            ("-" if e % 20 == 0 else "") + _money(1 + c % 50_000_000),  # below zero: a return premium
            _money(99_999_999_999_999 - f if g % 500 == 0 else f * 10),
            f"0.{h % 10**8:08d}{g % 10**8:08d}",
            "true" if d % 12 == 0 else "false",
            f"{7 * 10**19 + (e << 32) + h}",  # 20 digits: beyond 64 bits
            _money(paid) if a % 3 == 0 else "",
            "" if b % 7 == 0 else _money(paid // 2),
            _REMARKS[g // 5 % len(_REMARKS)],
        )
    )


def bordereau_csv() -> bytes:
    """The whole file as UTF-8 CSV: no byte order mark, LF, comma, a newline at the end, as the vendor's own.

    Each hundredth row repeats the row before it: real bordereaux hold full duplicates and no key.
    """
    lines = [",".join(map(_cell, _HEADERS))]
    lines += [_row(number - (number % 100 == 0)) for number in range(1, BORDEREAU_ROWS + 1)]
    return ("\n".join(lines) + "\n").encode()

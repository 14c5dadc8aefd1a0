"""Units of measure: symbol -> (singular, plural)."""

from __future__ import annotations

Forms = tuple[str, str]


def _regular(names: dict[str, str]) -> dict[str, Forms]:
    return {symbol: (name, name + "s") for symbol, name in names.items()}


_PREFIXES = {
    "p": "pico", "n": "nano", "µ": "micro", "m": "milli", "c": "centi", "d": "deci", "k": "kilo", "M": "mega", "G": "giga",
    "T": "tera",
}  # fmt: skip
_PREFIXED = [  # symbol, singular, plural, prefixes
    ("m", "meter", "meters", "nµmck"), ("g", "gram", "grams", "nµmk"), ("L", "liter", "liters", "µmcd"),
    ("l", "liter", "liters", "µmcd"), ("s", "second", "seconds", "nµm"), ("A", "amp", "amps", "µmk"),
    ("V", "volt", "volts", "µmkM"), ("W", "watt", "watts", "µmkMGT"), ("Hz", "hertz", "hertz", "kMGT"),
    ("J", "joule", "joules", "mkMG"), ("N", "newton", "newtons", "mk"), ("Pa", "pascal", "pascals", "kMG"),
    ("F", "farad", "farads", "pnµm"), ("H", "henry", "henries", "µm"), ("Ω", "ohm", "ohms", "mkMG"),
    ("eV", "electron volt", "electron volts", "mkMGT"), ("Wh", "watt hour", "watt hours", "mkMGT"),
    ("Ah", "amp hour", "amp hours", "m"), ("B", "byte", "bytes", "kMGT"), ("bit", "bit", "bits", "kMGT"),
    ("bps", "bit per second", "bits per second", "kMGT"), ("cal", "calorie", "calories", "k"),
    ("mol", "mole", "moles", "nµm"), ("Sv", "sievert", "sieverts", "µm"), ("t", "ton", "tons", "kM"),
    ("M", "molar", "molar", "nµm"), ("VA", "volt amp", "volt amps", "k"), ("T", "tesla", "tesla", "mµ"),
]  # fmt: skip


def _prefixed() -> dict[str, Forms]:
    units = {}
    for symbol, one, many, prefixes in _PREFIXED:
        for prefix in prefixes:
            name = _PREFIXES[prefix]
            units[prefix + symbol] = (name + one, name + many)
    return units


UNITS: dict[str, Forms] = _prefixed() | _regular(
    {
        "mi": "mile", "yd": "yard", "yds": "yard", "lb": "pound", "lbs": "pound", "oz": "ounce", "gal": "gallon",
        "qt": "quart", "qts": "quart", "tsp": "teaspoon", "tbsp": "tablespoon", "Tbsp": "tablespoon", "hr": "hour",
        "hrs": "hour", "min": "minute", "mins": "minute", "sec": "second", "secs": "second", "wk": "week", "wks": "week",
        "mo": "month", "mos": "month", "mth": "month", "mths": "month",
        "yr": "year", "yrs": "year", "KB": "kilobyte", "KiB": "kibibyte", "MiB": "mebibyte",
        "GiB": "gibibyte", "dB": "decibel", "sq ft": "square foot", "fl oz": "fluid ounce", "fl. oz": "fluid ounce",
        "mcg": "microgram", "ha": "hectare", "px": "pixel", "m": "meter", "g": "gram",
        "W": "watt", "V": "volt", "L": "liter", "l": "liter",
        "Ω": "ohm", "lm": "lumen", "eV": "electron volt", "Wh": "watt hour", "Ah": "amp hour", "kcal": "kilocalorie",
        "cal": "calorie", "hp": "horsepower", "doz": "dozen", "pts": "point", "ct": "carat", "pkg": "package",
    }
) | {
    "ft": ("foot", "feet"), "sq ft": ("square foot", "square feet"), "sq. ft": ("square foot", "square feet"),
    "sq m": ("square meter", "square meters"), "sq mi": ("square mile", "square miles"),
    "sq km": ("square kilometer", "square kilometers"), "cu ft": ("cubic foot", "cubic feet"),
    "km/h": ("kilometer per hour", "kilometers per hour"), "kph": ("kilometer per hour", "kilometers per hour"),
    "kmh": ("kilometer per hour", "kilometers per hour"), "m/s": ("meter per second", "meters per second"),
    "mph": ("mile per hour", "miles per hour"), "mpg": ("mile per gallon", "miles per gallon"),
    "rpm": ("R-P-M", "R-P-M"), "bpm": ("beat per minute", "beats per minute"), "fps": ("frame per second", "frames per second"),
    "ppm": ("part per million", "parts per million"), "ppb": ("part per billion", "parts per billion"),
    "dpi": ("D-P-I", "D-P-I"), "psi": ("P-S-I", "P-S-I"), "Hz": ("hertz", "hertz"), "hp": ("horsepower", "horsepower"),
    "BTU": ("B-T-U", "B-T-Us"), "cc": ("C-C", "C-Cs"), "mmHg": ("millimeter of mercury", "millimeters of mercury"),
    "°C": ("degree Celsius", "degrees Celsius"), "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"), "%": ("percent", "percent"), "Mbps": ("megabit per second", "megabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"), "kbps": ("kilobit per second", "kilobits per second"),
    "Mb": ("megabit", "megabits"), "Gb": ("gigabit", "gigabits"), "kb": ("kilobit", "kilobits"),
    "mi/h": ("mile per hour", "miles per hour"), "kWh": ("kilowatt hour", "kilowatt hours"),
}  # fmt: skip
PER = {
    "h": "hour",
    "s": "second",
    "d": "day",
    "day": "day",
    "y": "year",
    "yr": "year",
    "sec": "second",
    "min": "minute",
}
"""What else than a unit may follow a stroke."""

"""What formats state of themselves: complete, and the same wherever it is told."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from pims.api.schemas.server import FormatInfo
from pims.formats.abstract import AbstractConvertor, AbstractFormat
from pims.formats.facts import ConversionClass, FormatFacts, in_words
from pims.formats.registry import discover_formats

FORMATS = tuple(discover_formats())


@pytest.mark.parametrize("fmt", FORMATS, ids=[fmt.get_identifier() for fmt in FORMATS])
def test_every_format_states_all_facts(fmt: type[AbstractFormat]) -> None:
    facts = FormatFacts.of(fmt)
    assert facts.bits and set(facts.samples) <= {1, 3}
    assert all(1 <= bits <= 64 for bits in facts.bits)
    assert facts.extensions and all(extension.startswith(".") for extension in facts.extensions)
    assert facts.convertible is (facts.conversion != "native")
    assert json.loads(json.dumps(facts.as_dict())) == facts.as_dict()


@pytest.mark.parametrize("fmt", FORMATS, ids=[fmt.get_identifier() for fmt in FORMATS])
def test_the_api_tells_the_same_facts(fmt: type[AbstractFormat]) -> None:
    assert FormatInfo.of(fmt).model_dump() == FormatFacts.of(fmt).as_dict()
    assert set(FormatInfo.model_fields) == {field.name for field in fields(FormatFacts)}


def test_by_default_what_has_a_convertor_is_converted() -> None:
    class PlainFormat(AbstractFormat):
        pass

    class ConvertedFormat(PlainFormat):
        convertor_class = AbstractConvertor

    class HeavyFormat(ConvertedFormat):
        conversion_class = ConversionClass.HEAVY

    formats = (PlainFormat, ConvertedFormat, HeavyFormat)
    assert [fmt.get_conversion_class().value for fmt in formats] == ["native", "light", "heavy"]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [([8], "8"), ([1, 3], "1, 3"), ([8, 16], "8, 16"), (range(1, 17), "1 to 16"), ([1, 2, 4], "1, 2, 4")],
)
def test_numbers_in_words(numbers: list[int], words: str) -> None:
    assert in_words(numbers) == words

"""What a processor can do is read from the kernel's description."""

from __future__ import annotations

import dataclasses

import pytest
from arno.ops.processor import Processor, read_processor

CPUINFO = """\
processor\t: 0
model name\t: Some Processor @ 2.00GHz
flags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16

processor\t: 1
model name\t: Some Processor @ 2.00GHz
flags\t\t: fpu
"""


def test_name_and_instructions_are_those_of_the_first_processor(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    found = read_processor(path)
    assert found.model == "Some Processor @ 2.00GHz"
    assert found.instructions == "AVX2, AVX-512, AVX-512 VNNI, AVX-512 BF16"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx2"}, False),
        ({"avx512f", "avx512_bf16"}, False),
        ({"avx2", "avx_vnni"}, True),
        ({"avx512_vnni"}, True),
        ({"amx_int8"}, True),
        (set(), False),
    ],
)
def test_vnni_or_amx_multiplies_8_bit_numbers(flags, expected):
    assert Processor("p", frozenset(flags)).multiplies_int8 is expected


def test_a_machine_without_a_description_has_a_processor_without_instructions(tmp_path):
    found = read_processor(tmp_path / "absent")
    assert found.model
    assert found.instructions == "none"


def test_any_other_flag_or_model_is_another_processor():
    one = Processor("p", frozenset({"avx2", "fma"}))
    others = [dataclasses.replace(one, model="q"), Processor("p", frozenset({"avx2"}))]
    assert len({each.digest for each in (one, *others)}) == 3
    assert one.digest == Processor("p", frozenset({"fma", "avx2"})).digest

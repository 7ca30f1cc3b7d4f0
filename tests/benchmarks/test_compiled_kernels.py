"""The reading of the GPU kernels' machine code, and the page that holds it."""

from __future__ import annotations

import pytest

from .conftest import BENCHMARKS

pytestmark = pytest.mark.usefixtures("benchmarks")

LISTING = """
.text.sums:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/                   S2R R0, SR_TID.X ;
.L_x_0:
        /*0020*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
.L_x_1:
        /*0030*/                   FADD R5, R5, R6 ;
        /*0040*/              @!P1 BRA `(.L_x_1) ;
        /*0050*/               @P0 LDG.E.U8 R8, desc[UR4][R2.64] ;
        /*0060*/              @!P0 BRA `(.L_x_0) ;
        /*0070*/                   STG.E.U16 desc[UR4][R2.64], R5 ;
        /*0080*/                   EXIT ;
.L_x_2:
        /*0090*/                   BRA `(.L_x_2);
        /*00a0*/                   NOP;
""".splitlines()


@pytest.fixture
def sass():
    pytest.importorskip("triton", reason="Triton is not installed")
    from gpu import sass

    return sass


def test_loops_are_counted_as_often_as_they_turn(sass):
    """Ten instructions, five of them in the outer loop and two of these in the inner one."""
    code = sass.parsed(LISTING)
    assert len(code.instructions) == 10
    assert code.loops == ((3, 4), (2, 6))
    assert code.for_each_step(steps=1, inner=1) == 10
    assert code.for_each_step(steps=5, inner=1) == 6
    assert code.for_each_step(steps=5, inner=4) == 12
    assert code.memory() == ["LDG.128", "LDG.U8", "STG.U16"]


@pytest.mark.parametrize(
    ("registers", "shared", "warps", "architecture", "share"),
    [
        (32, 0, 4, 90, 1.0),
        (54, 1024, 4, 90, 0.5625),
        (110, 0, 4, 90, 0.25),
        (182, 0, 8, 90, 0.125),
        (32, 40 * 1024, 4, 80, 0.25),
        (16, 0, 1, 90, 0.5),
    ],
)
def test_a_multiprocessor_holds_as_many_warps_as_its_registers_do(sass, registers, shared, warps, architecture, share):
    """64 warps with 32 registers each; at most 32 programs; shared memory counts with a reserved KB for each."""
    assert sass.Usage(registers, 0, shared).occupancy(warps, architecture) == share


def rows():
    lines = (BENCHMARKS.parent / "docs" / "benchmarks" / "kernels.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {tuple(row[:3]): row[3:] for row in cells if row[2] != "for"}


def test_no_compiled_kernel_spills():
    """Of any row of the page."""
    assert len(rows()) >= 60
    assert {spills for _, spills, *_ in rows().values()} == {"0"}


@pytest.mark.parametrize(("kernel", "instructions", "occupancy"), [("sums", 50, 50), ("gradient", 48, 100)])
def test_the_kernels_of_sam_stay_within_their_bounds(kernel, instructions, occupancy):
    """At 91 instructions for a logit, forward and backward, they read at 60 % of the speed of a copy on an H100."""
    _, _, share, count, access = rows()["SAM, bfloat16", kernel, "sm_90"]
    assert float(count) <= instructions
    assert int(share.rstrip("%")) >= occupancy
    assert access.startswith("LDG.128")


@pytest.mark.parametrize("name", ["SAM, bfloat16, 513 x 513", "SAM, bfloat16, 513 x 513, one target"])
def test_rows_of_any_length_are_read_and_written_by_vectors(name):
    """16 bytes at a time inside a mask, single numbers only at its ends."""
    assert "LDG.128" in rows()[name, "sums", "sm_90"][-1]
    assert "LDG.128" in rows()[name, "gradient", "sm_90"][-1]
    assert "STG.128" in rows()[name, "gradient", "sm_90"][-1]


@pytest.mark.tools
def test_the_page_is_made_by_the_script(sass):
    """A launch is recorded and compiled: the same registers as on the page, with the Triton that made it."""
    import triton
    from gpu import compiled

    page = (BENCHMARKS.parent / "docs" / "benchmarks" / "kernels.md").read_text()
    found = [*compiled.rows(compiled.MASKS[:1]), *compiled.rows_between(compiled.WHOLE[:1], (90,))]
    assert [row.split("|")[2].strip() for row in found] == ["sums", "sums", "gradient", "gradient", "finish"]
    if f"Triton {triton.__version__}," in page:
        assert all(row in page for row in found)

"""Losses and names at the ends of what there is: no error but lossreg's own."""

import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")
pytest.importorskip("PIL", reason="pillow is not installed, so there are no pictures")

from lossreg.errors import InputError, LossregError
from lossreg.records import aggregate_by_dataset, write_report


@pytest.mark.parametrize("losses", [(5e-324, 1e-323), (0.0, 5e-324), (1e-310, 2e-310), (-1e308, 1e308), (-5e-324, 0.0)])
def test_a_report_of_the_smallest_and_largest_losses(losses, tmp_path):
    """Steps of an axis do not vanish."""
    page = write_report([{"loss": loss, "step": step} for step, loss in enumerate(losses)], tmp_path / "x.html")
    assert "</html>" in page.read_text(encoding="utf-8")


def test_a_component_with_half_a_character():
    """The name of a column is checked before DuckDB sees it."""
    with pytest.raises(InputError, match=r"^row 0: no file can hold the name 'loss_.*rename the component"):
        aggregate_by_dataset([{"loss": 0.0, "loss_\ud83d": 1.0}])


def test_a_name_that_is_too_long(tmp_path):
    """Of the directory or of the file; the error names it."""
    long = tmp_path / ("x" * 300)
    with pytest.raises(LossregError, match=r"x: the directory of records cannot be read: File name too long; check"):
        aggregate_by_dataset(long)
    with pytest.raises(LossregError, match=r"x cannot be written: File name too long; make room or choose another"):
        write_report([{"loss": 1.0}], long)

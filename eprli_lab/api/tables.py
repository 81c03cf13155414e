"""The table of arms as an object: a frame, or printed in five formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from eprli_lab.reporting.load import StudyData
    from eprli_lab.reporting.tables.rows import Table


@dataclass(frozen=True)
class AblationTable:
    """One row an arm: means over seeds, and the paired difference to its baseline. Prints as the sweep's table."""

    rows: Table = field(repr=False)  # as the report makes it

    @property
    def baseline(self) -> str:
        """The arm that the others are compared with, where they have none of their own."""
        return self.rows.baseline

    def frame(self) -> pd.DataFrame:
        """One row an arm, full precision; nan where nothing was logged or compared.

        Columns: arm; n, its seeds; every suite and objective as <suite>/start and <suite>/end (means over seeds);
        difference to `baseline` in the first objective with difference_low and difference_high (95%) and p_raw of the
        paired test, each comparison by itself; p_holm, corrected over the arms with three common seeds; updates,
        tokens, response_tokens, seconds; of every level admission_rate/<level>, clip_fraction_low/<level>,
        clip_fraction_high/<level> (fractions).
        """
        import pandas as pd

        from eprli_lab.reporting.tables.columns import MACHINE, chosen

        shown = chosen(self.rows, None, MACHINE)
        return pd.DataFrame([{c.name: c.key(row) for c in shown} for row in self.rows.rows])

    def text(self) -> str:
        """The whole document at the end of a sweep: table, dynamics, and how it reads in sentences."""
        return self.rows.text()

    def markdown(self, columns: Sequence[str] | None = None) -> str:
        """Markdown of the whole document, or of one table of `columns`. Raises UserError for one that there is not."""
        return self._rendered("md", columns)

    def latex(self, columns: Sequence[str] | None = None) -> str:
        """LaTeX tabulars (booktabs). Raises UserError for a column that there is not."""
        return self._rendered("latex", columns)

    def csv(self, columns: Sequence[str] | None = None) -> str:
        """CSV in full precision; nan is an empty cell. Raises UserError for a column that there is not."""
        return self._rendered("csv", columns)

    def html(self, columns: Sequence[str] | None = None) -> str:
        """HTML tables. Raises UserError for a column that there is not."""
        return self._rendered("html", columns)

    def _rendered(self, form: str, names: Sequence[str] | None) -> str:
        from eprli_lab.reporting.tables.columns import chosen
        from eprli_lab.reporting.tables.render import render

        return render(self.rows, None if names is None else chosen(self.rows, names), form)

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.html()


def table_of(data: StudyData, baseline: str | None = None) -> AblationTable:
    """See `ablation_table`."""
    from eprli_lab.reporting.tables.rows import ablation_table

    return AblationTable(ablation_table(data, baseline))

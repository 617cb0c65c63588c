//! Tables in the style of kubectl: upper-case headings, columns three spaces apart, cut to the width of a terminal.

/// How far apart columns are.
const GAP: usize = 3;

/// A table, row by row.
#[derive(Clone, Debug, Default)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    /// A table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self(vec![headings.map(ToOwned::to_owned).to_vec()])
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.push(Vec::from(cells));
    }

    /// Its lines, each cut to `width` characters if there is one.
    pub fn lines(&self, width: Option<usize>) -> Vec<String> {
        Columns::default().lines(&self.0, width)
    }

    /// The same as one text.
    pub fn text(&self, width: Option<usize>) -> String {
        self.lines(width).join("\n")
    }
}

/// The widths of the columns of a table that comes in parts: they grow and never shrink.
#[derive(Clone, Debug, Default)]
pub struct Columns(Vec<usize>);

impl Columns {
    /// The lines of these rows, each cut to `width` characters if there is one.
    pub fn lines(&mut self, rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
        for row in rows {
            self.0.resize(self.0.len().max(row.len()), 0);
            for (cell, width) in row.iter().zip(&mut self.0) {
                *width = (*width).max(shown(cell).chars().count());
            }
        }
        let line = |row: &Vec<String>| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&self.0) {
                let cell = shown(cell);
                let padding = width + GAP - cell.chars().count();
                line.push_str(&cell);
                line.extend(std::iter::repeat_n(' ', padding));
            }
            cut(line.trim_end(), width)
        };
        rows.iter().map(line).collect()
    }
}

/// What a user has written into an object must not move the cursor or hide a line.
pub fn shown(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The line, with an ellipsis at its end if it is longer than `width`.
fn cut(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if line.chars().count() > width => {
            let mut kept: String = line.chars().take(width.saturating_sub(1)).collect();
            kept.push('…');
            kept
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cut_to_the_width_of_a_terminal() {
        let mut table = Table::new(["ID", "STATE", "WHY"]);
        table.row(["long-name".into(), "DEAD".into(), "a sentence".into()]);
        table.row(["üñ".into(), "RUNNING".into(), "bell\u{7}, escape\u{1b}[2J and\nline".into()]);
        assert_eq!(
            table.lines(None),
            [
                "ID          STATE     WHY",
                "long-name   DEAD      a sentence",
                "üñ          RUNNING   bell , escape [2J and line",
            ]
        );
        assert_eq!(
            table.lines(Some(24)),
            ["ID          STATE     W…", "long-name   DEAD      a…", "üñ          RUNNING   b…"]
        );
        let mut columns = Columns::default();
        let row = |cells: [&str; 2]| vec![cells.map(ToOwned::to_owned).to_vec()];
        assert_eq!(columns.lines(&row(["long-name", "a"]), None), ["long-name   a"]);
        assert_eq!(columns.lines(&row(["b", "c"]), None), ["b           c"], "as the part before");
        // Where everything fits, nothing is cut.
        assert_eq!(table.lines(Some(48))[2].chars().count(), 48);
    }
}

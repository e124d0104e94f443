//! Tables without frames: they survive `grep` and `awk`.

use comfy_table::{Cell, CellAlignment, Table, presets};

/// A table with these column heads; those that end in `>` are aligned to the right.
pub fn new(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(heads.iter().map(|h| Cell::new(h.trim_end_matches('>'))));
    for (n, head) in heads.iter().enumerate() {
        if let (true, Some(column)) = (head.ends_with('>'), table.column_mut(n)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

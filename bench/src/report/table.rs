//! The table: a line for each figure, a column for each target, and ratios.

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::results::{Results, Series};
use crate::target::TargetKind;

/// Whom the ratios are about.
const SUBJECT: TargetKind = TargetKind::Cairn;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Terminal,
    Markdown,
}

/// Renders `results`; ratios are there where the subject was measured, one for each of its peers.
pub fn render(results: &Results, style: Style) -> String {
    let peers: Vec<TargetKind> = if results.targets.contains(&SUBJECT) {
        results.targets.iter().copied().filter(|target| *target != SUBJECT).collect()
    } else {
        Vec::new()
    };
    let mut table = Table::new();
    table.load_preset(if style == Style::Markdown { ASCII_MARKDOWN } else { UTF8_FULL_CONDENSED });
    table.set_content_arrangement(ContentArrangement::Disabled);
    let mut header = vec!["figure".to_owned(), "unit".to_owned()];
    header.extend(results.targets.iter().map(|target| target.name().to_owned()));
    header.extend(peers.iter().map(|peer| format!("{}/{}", SUBJECT.name(), peer.name())));
    table.set_header(header);
    for series in &results.figures {
        table.add_row(row(series, &results.targets, &peers));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn row(series: &Series, targets: &[TargetKind], peers: &[TargetKind]) -> Vec<String> {
    let mut cells = vec![series.name.clone(), series.unit.label().to_owned()];
    cells.extend(targets.iter().map(|target| rate(series, *target)));
    cells.extend(peers.iter().map(|peer| series.ratio(SUBJECT, *peer).map_or("-".to_owned(), ratio)));
    cells
}

fn rate(series: &Series, target: TargetKind) -> String {
    let Some(median) = series.median(target) else { return "-".to_owned() };
    let rounds = series.samples.get(&target).map_or(0, Vec::len);
    match series.spread(target) {
        Some(spread) if rounds > 1 => format!("{} ({:.0}%)", number(median), spread * 100.0),
        _ => number(median),
    }
}

/// Three digits or so, and thousands in groups.
fn number(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn ratio(value: f64) -> String {
    format!("{}x", number(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::figure::{Figure, Unit};
    use crate::fio::Engine;
    use crate::scale::Scale;

    fn results(targets: Vec<TargetKind>) -> Results {
        Results::new(Environment::default(), Scale::quick(), Engine::Libaio, 3, targets)
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(0.1234), "0.12");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(999.6), "1,000");
        assert_eq!(number(1_234_567.0), "1,234,567");
    }

    #[test]
    fn a_line_has_medians_spreads_and_ratios() {
        let mut results = results(vec![TargetKind::Local, TargetKind::Cairn]);
        for rate in [100.0, 110.0, 90.0] {
            let figure =
                |rate| Figure { name: "stat.warm".to_owned(), unit: Unit::OperationsPerSecond, rate, flushes: None };
            results.record(TargetKind::Local, figure(rate));
            results.record(TargetKind::Cairn, figure(rate * 3.0));
        }
        let table = render(&results, Style::Markdown);
        let lines: Vec<Vec<&str>> =
            table.lines().map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect();
        assert_eq!(lines[0], ["figure", "unit", "local", "cairn", "cairn/local"]);
        assert_eq!(lines[2], ["stat.warm", "ops/s", "100 (20%)", "300 (20%)", "3.00x"]);
    }

    #[test]
    fn without_the_subject_there_are_no_ratios() {
        let mut results = results(vec![TargetKind::Local, TargetKind::Null]);
        let figure =
            Figure { name: "sqlite.fsync".to_owned(), unit: Unit::OperationsPerSecond, rate: 7.0, flushes: None };
        results.record(TargetKind::Local, figure);
        let table = render(&results, Style::Markdown);
        assert!(!table.contains("cairn/"));
        assert!(table.lines().last().unwrap().replace(' ', "").ends_with("|7.00|-|"));
    }
}

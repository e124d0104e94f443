//! The promises of `docs/semantics.md`: every one names its tests, and those exist.

use std::path::Path;

use anyhow::{Context, Result, ensure};

#[test]
fn every_promise_has_its_tests() -> Result<()> {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(crate_dir.join("../docs/semantics.md"))?;
    let promises: Vec<&str> = page.lines().filter(|l| l.starts_with("- ")).collect();
    ensure!(promises.len() >= 15, "only {} promises were found: has the page another form now?", promises.len());
    for promise in promises {
        let (_, references) = promise.rsplit_once(" (`").with_context(|| format!("no test is named: {promise}"))?;
        for reference in references.trim_end_matches([')', '`']).split("`, `") {
            let (suite, test) =
                reference.split_once("::").with_context(|| format!("`{reference}` is no suite::test"))?;
            let source = std::fs::read_to_string(crate_dir.join(format!("tests/{suite}.rs")))
                .with_context(|| format!("{promise}\nnames suite {suite}"))?;
            ensure!(
                source.contains(&format!("#[test]\nfn {test}(")),
                "{suite}.rs has no test {test}, named by: {promise}"
            );
        }
    }
    Ok(())
}

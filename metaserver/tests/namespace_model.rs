//! The namespace against a reference model: random operations, the same answers and the same state after each of them.
//!
//! Besides that, after each step: a refused command has written nothing but its entry in the ledger; a retried one is answered
//! alike and writes nothing; `changed_at` changes with what clients see; paths lead where they should; a listing under way loses
//! and repeats nothing. Several sessions take part: what one has for itself, the others are kept from, and nothing else. And after
//! each sequence, the invariants hold.

#![allow(clippy::unwrap_used, reason = "all of this is test")]

mod listing;
mod model;
mod script;
mod world;

use cairn_metaserver::namespace::check::check;
use cairn_metaserver::store::{Keyspace, MemoryStore, Read, SledStore};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use script::{Turn, steps};
use world::World;

fn run(steps: &[Turn]) -> World<MemoryStore> {
    let mut world = World::new(MemoryStore::default());
    for step in steps {
        world.step(step);
    }
    world
}

fn findings(read: &dyn Read, limit: usize) -> Vec<String> {
    let mut findings = Vec::new();
    let mut resume = None;
    loop {
        let page = check(read, resume.as_deref(), limit).unwrap();
        findings.extend(page.findings.into_iter().map(|finding| format!("{}: {}", finding.kind, finding.what)));
        match page.resume {
            Some(next) => resume = Some(next),
            None => return findings,
        }
    }
}

/// Found cases are pinned beside this file.
fn config(cases: u32) -> ProptestConfig {
    let failure_persistence = Some(Box::new(FileFailurePersistence::WithSource("regressions")) as _);
    ProptestConfig { cases, max_shrink_iters: 20_000, failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn follows_the_model(steps in steps(160)) {
        let world = run(&steps);
        let view = &world.store;
        prop_assert_eq!(findings(view, 7), Vec::<String>::new());
        prop_assert_eq!(findings(view, usize::MAX), Vec::<String>::new());
    }
}

proptest! {
    #![proptest_config(config(20))]

    /// The same log gives the same state, whatever engine holds it, and however commands are gathered into batches.
    #[test]
    fn is_deterministic(steps in steps(120), batch in 1..10usize) {
        let world = run(&steps);
        let dir = tempfile::tempdir().unwrap();
        let keyspace = Keyspace::open(SledStore::open(dir.path(), 16 << 20).unwrap(), 1 << 20).unwrap();
        world::replay(&world.log, &keyspace, batch);
        let ours = world.store.scan_page(&[1], &[0xff], usize::MAX).unwrap();
        let theirs = keyspace.view().scan_page(&[1], &[0xff], usize::MAX).unwrap();
        prop_assert_eq!(ours, theirs);
    }
}

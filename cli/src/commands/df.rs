//! `cairn df`.

use anyhow::Result;

use super::status;
use crate::args::StatusArgs;
use crate::out::say;
use crate::view::{bytes, print_json, status::StatusView};

pub async fn run(args: StatusArgs) -> Result<()> {
    let view = status::fetch(&args).await?;
    if args.json {
        let StatusView { servers, fs, trash, .. } = view;
        return print_json(&serde_json::json!({ "fs": fs, "servers": servers, "trash": trash }));
    }
    view.print_servers();
    say!("\nas files see it: {} of {} free", bytes(view.fs.free), bytes(view.fs.total));
    if let Some(trash) = view.trash_in_words() {
        say!("in the trash, and not free: {trash}");
    }
    Ok(())
}

//! The book: its generated pages, its links, and that it builds.
//!
//! Pages that need the built program or a run of scripts are written by tests, which compare them like any other golden
//! file.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::{errors, features, links, odoo_tests, step::root, tools};

/// A page that is made here, and from what.
type Page = (&'static str, fn() -> Result<String>);
const PAGES: [Page; 2] =
    [("docs/reference/errors.md", errors::page), ("docs/reference/odoo-automation-tests.md", odoo_tests::page)];

/// Fails if a page is out of date, a link is broken or the book does not build.
pub(crate) fn check() -> Result<()> {
    for (path, page) in PAGES {
        let written = fs::read_to_string(root().join(path)).unwrap_or_default();
        ensure!(written == page()?, "{path} is out of date; run `cargo xtask docs --write`");
    }
    links::check()?;
    tools::mdbook()
}

/// Writes all generated pages anew, that of the features included.
pub(crate) fn write() -> Result<()> {
    for (path, page) in PAGES {
        fs::write(root().join(path), page()?).context(path)?;
    }
    let overwrite = [("SNAPSHOTS", "overwrite")];
    for (test, page) in [
        ("model", "the_page_of_the_limits"),
        ("commands", "the_reference_page"),
        ("scripts", "each_side_refuses"),
        ("api", "the_document_in_the_book"),
    ] {
        tools::tests_with(&["--quiet", "--test", test, "--", page], &overwrite)?;
    }
    features::run(true)?;
    links::check()
}

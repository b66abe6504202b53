//! The library carries its own copy of the contract, so that it can be vendored anywhere. This keeps it equal.

use std::{fs, path::Path};

#[test]
fn the_copy_of_the_contract_is_equal() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = |path: &str| {
        let mut files: Vec<_> = fs::read_dir(library.join(path))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "wit"))
            .map(|path| (path.file_name().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
            .collect();
        files.sort();
        files
    };
    let contract = folder("../../../wit");
    assert!(!contract.is_empty());
    assert!(contract == folder("wit"), "sdk/wit differs from wit/: cp wit/*.wit guest-examples/rust/sdk/wit/");
}

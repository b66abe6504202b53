//! The program as its users call it: commands and their output are data in `tests/e2e/cmd`.

// Shows: F078, F079, F080
#[test]
fn commands_print_what_they_should() {
    let cases = trycmd::TestCases::new();
    cases.register_bin("triggerbox", trycmd::cargo::cargo_bin!("triggerbox"));
    cases.case("../../tests/e2e/cmd/*.trycmd");
}

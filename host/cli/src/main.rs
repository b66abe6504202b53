//! The `triggerbox` program: parses, calls the libraries, prints.

#[macro_use]
mod output;

mod args;
mod commands;
mod exit;
mod text_file;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use crate::{
    args::{Cli, Command},
    exit::{Exit, Failure},
};

/// A change of many records asks for and gives back millions of small pieces of memory.
#[global_allocator]
static MEMORY: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if matches!(command, Command::Compile) {
        return commands::compile::run();
    }
    match dispatch(command) {
        Ok(exit) => match output::incomplete() {
            None => exit.into(),
            Some(error) => {
                errln!("{} cannot write to stdout: {error}", output::styled(output::RED, "error:"));
                Exit::Usage.into()
            }
        },
        Err(Failure { exit, error }) => {
            output::failed(&error);
            exit.into()
        }
    }
}

fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Demo(args) => commands::demo::run(args),
        Command::New(args) => commands::new::run(&args),
        Command::Build(args) => commands::build::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Run(args) => commands::run::run(&args),
        Command::Test(args) => commands::test::run(&args),
        Command::Dev(args) => commands::dev::run(&args),
        Command::Replay(args) => commands::replay::replay(&args),
        Command::Backtest(args) => commands::replay::backtest(&args),
        Command::Rules(args) => commands::rules::run(&args.command),
        Command::Agents(args) => commands::agents::run(&args.command),
        Command::Threads(args) => commands::threads::run(&args.command),
        Command::Runs(args) => commands::runs::run(&args.command),
        Command::Approvals(args) => commands::approvals::run(&args.command),
        Command::Scripts(args) => commands::scripts::run(&args.command),
        Command::Serve(args) => commands::serve::run(&args),
        Command::Token(args) => commands::token::run(&args.command),
        Command::Db(args) => commands::db::run(&args.command),
        Command::Odoo(args) => commands::odoo::run(&args),
        Command::Limits(args) => commands::limits::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Compile | Command::MarkdownHelp => {
            out!("{}", clap_markdown::help_markdown::<Cli>());
            Ok(Exit::Ok)
        }
    }
}

//! `nomad-events test`: the unit tests of a configuration. Output and exit code are as of `vector test`.

use std::fmt::Write as _;
use std::io;

use anstyle::{AnsiColor, Style};

use super::args::TestArgs;
use super::exit::Exit;
use super::terminal::Terminal;
use crate::host::config::{Config, ConfigErrors, Hidden, disk_files, process_env};
use crate::host::topology::Workbench;
use crate::host::unit_test::UnitTest;

pub(super) fn run(args: &TestArgs) -> anyhow::Result<Exit> {
    let mut terminal = Terminal::stdout();
    let printed = match prepare(args) {
        Ok(prepared) => report(&mut terminal, &prepared),
        Err(errors) => {
            eprintln!("Failed to execute tests:\n{errors}");
            return Ok(Exit::Config);
        }
    };
    match printed {
        Ok(exit) => Ok(exit),
        // All tests were run; the exit code is told also when nobody reads the reasons.
        Err((exit, error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit),
        Err((_, error)) => Err(error.into()),
    }
}

/// What was read and compiled.
struct Prepared {
    workbench: Workbench,
    tests: Vec<UnitTest>,
    /// What is not to be seen in messages.
    hidden: Hidden,
}

/// Reads the files, as one configuration, and compiles everything.
fn prepare(args: &TestArgs) -> Result<Prepared, ConfigErrors> {
    let (config, _) = Config::load_all(&args.files(), &process_env, &disk_files)?;
    let workbench = Workbench::build(&config)?;
    let mut tests = Vec::with_capacity(config.tests.len());
    let mut problems = Vec::new();
    for (number, definition) in config.tests.iter().enumerate() {
        // Within one file Vector takes it.
        let elsewhere = config.tests[..number]
            .iter()
            .find(|other| other.name == definition.name && other.file != definition.file);
        if let Some(other) = elsewhere {
            let message = format!("{} has a test of this name too; rename one", other.file);
            problems.push(definition.problem(message));
        }
        match UnitTest::build(definition, &workbench) {
            Ok(test) => tests.push(test),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(Prepared {
            workbench,
            tests,
            hidden: config.hidden,
        })
    } else {
        Err(ConfigErrors::new(&config.file, problems).hiding(&config.hidden))
    }
}

/// Runs all tests, and prints what became of them. With an error of the output comes what is known by then.
fn report(terminal: &mut Terminal, prepared: &Prepared) -> Result<Exit, (Exit, io::Error)> {
    let Prepared {
        workbench,
        tests,
        hidden,
    } = prepared;
    let plain = Style::new();
    let mut failures: Vec<(&str, Vec<String>)> = Vec::new();
    let mut printed = terminal.line(&[(plain, "Running tests")]);
    for test in tests {
        let failed = test.run(workbench);
        let (style, word) = if failed.is_empty() {
            (AnsiColor::Green.on_default(), "passed")
        } else {
            (AnsiColor::Red.on_default(), "failed")
        };
        printed = printed.and_then(|()| {
            terminal.line(&[
                (plain, "test "),
                (plain, &test.name),
                (plain, " ... "),
                (style, word),
            ])
        });
        if !failed.is_empty() {
            failures.push((&test.name, failed));
        }
    }
    if tests.is_empty() {
        let style = AnsiColor::Yellow.on_default();
        printed = printed.and_then(|()| terminal.line(&[(style, "No tests found.")]));
    }
    let exit = if failures.is_empty() {
        Exit::Success
    } else {
        Exit::Config
    };
    if !failures.is_empty() {
        let mut text = String::from("\nfailures:");
        for (name, failed) in &failures {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n\ntest {name}:\n");
            for failure in failed {
                let _ = write!(text, "\n{}\n", hidden.hide(failure));
            }
        }
        printed = printed.and_then(|()| terminal.line(&[(plain, &text)]));
    }
    match printed.and_then(|()| terminal.flush()) {
        Ok(()) => Ok(exit),
        Err(error) => Err((exit, error)),
    }
}

//! `nomad-events test`: the unit tests of a configuration. Output and exit code are as of `vector test`.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use anstyle::{AnsiColor, Style};

use super::args::TestArgs;
use super::exit::Exit;
use super::terminal::Terminal;
use crate::host::config::{Config, ConfigErrors, Problem, TestDefinition, disk_files, process_env};
use crate::host::topology::Workbench;
use crate::host::unit_test::UnitTest;

pub(super) fn run(args: &TestArgs) -> anyhow::Result<Exit> {
    let mut terminal = Terminal::stdout();
    let printed = match prepare(args) {
        Ok((workbench, tests)) => report(&mut terminal, &workbench, &tests),
        Err(errors) => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            eprintln!("Failed to execute tests:\n{}", errors.join("\n"));
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

/// Reads the files and compiles everything.
fn prepare(args: &TestArgs) -> Result<(Workbench, Vec<UnitTest>), Vec<ConfigErrors>> {
    let mut errors = Vec::new();
    let mut configuration: Option<&Path> = None;
    let mut definitions: Vec<(String, Vec<TestDefinition>)> = Vec::new();
    for path in args.files() {
        match Config::load_tests(path, &process_env, &disk_files) {
            Ok(Some(tests)) => definitions.push((path.display().to_string(), tests)),
            Ok(None) => match configuration.replace(path) {
                None => {}
                Some(first) => errors.push(refuse(
                    path,
                    format!(
                        "{} is a configuration already, and only one is taken; the other files may hold nothing but tests",
                        first.display()
                    ),
                )),
            },
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let Some(path) = configuration else {
        let file = args.files().next().unwrap_or(Path::new(""));
        let message = "there are only tests; name the file too whose transforms they test";
        return Err(vec![refuse(file, message.to_owned())]);
    };
    let (config, _) = Config::load(path, &process_env, &disk_files).map_err(|error| vec![error])?;
    let workbench = Workbench::build(&config).map_err(|error| vec![error])?;
    definitions.insert(0, (config.file.clone(), config.tests));

    let mut tests: Vec<UnitTest> = Vec::new();
    for (file, definitions) in &definitions {
        let mut problems = Vec::new();
        let others = tests.len();
        for definition in definitions {
            // Within one file Vector takes it.
            if tests[..others]
                .iter()
                .any(|test| test.name == definition.name)
            {
                problems.push(definition.problem("another file has a test of this name"));
            }
            match UnitTest::build(definition, &workbench) {
                Ok(test) => tests.push(test),
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            errors.push(ConfigErrors::new(file, problems));
        }
    }
    if errors.is_empty() {
        Ok((workbench, tests))
    } else {
        Err(errors)
    }
}

fn refuse(path: &Path, message: String) -> ConfigErrors {
    ConfigErrors::new(path.display().to_string(), vec![Problem::general(message)])
}

/// Runs all tests, and prints what became of them. With an error of the output comes what is known by then.
fn report(
    terminal: &mut Terminal,
    workbench: &Workbench,
    tests: &[UnitTest],
) -> Result<Exit, (Exit, io::Error)> {
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
                let _ = write!(text, "\n{failure}\n");
            }
        }
        printed = printed.and_then(|()| terminal.line(&[(plain, &text)]));
    }
    match printed.and_then(|()| terminal.flush()) {
        Ok(()) => Ok(exit),
        Err(error) => Err((exit, error)),
    }
}

//! Completions and manual pages, checked by shells and `man`.

use std::collections::BTreeSet;
use std::io::{Write, pipe};
use std::process::{Command, Stdio};
use std::{env, fs, process};

use super::program::{run, threadcast};

const COMMANDS: [&str; 12] = [
    "serve",
    "pub",
    "sub",
    "topics",
    "nodes",
    "top",
    "healthcheck",
    "bench",
    "check-config",
    "key",
    "completions",
    "man",
];

fn printed(arguments: &[&str]) -> String {
    // The text does not depend on the environment.
    let mut command = threadcast(arguments);
    command
        .env("PUBSUB_API_KEY", "s3cret")
        .env("PUBSUB_HOST", "");
    let end = run(&mut command);
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    end.out.join("\n")
}

/// Feeds a text to a program, if it is installed; expects exit code 0 and no output.
fn accepted_by(program: &str, arguments: &[&str], text: &str) {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        return;
    };
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaint.is_empty(),
        "{program}: {complaint}"
    );
}

fn flags(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
    text.split(|c| !is_part(c))
        .filter(|word| word.starts_with("--") && word.len() > 3)
        .map(str::to_owned)
        .collect()
}

#[test]
fn completion_script_of_each_shell_names_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        for expected in COMMANDS.iter().chain(&["max-queue-size", "many-topics"]) {
            assert!(script.contains(expected), "{shell}: {expected}");
        }
        assert!(!script.contains("s3cret"));
        if ["bash", "zsh"].contains(&shell) {
            accepted_by(shell, &["-n"], &script);
        }
    }
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let script = printed(&["completions", "bash"]);
    for (words, expected) in [
        ("threadcast che", "check-config"),
        ("threadcast bench --scene many", "many-topics"),
        ("threadcast serve --max-q", "--max-queue-size"),
        ("threadcast --log-level D", "DEBUG"),
        ("threadcast serve --heartbeat-json f", "false"),
        ("threadcast topics create --overflow drop", "drop_oldest"),
    ] {
        let count = words.split(' ').count() - 1;
        let ask = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD={count}; \
             _threadcast threadcast \"${{COMP_WORDS[{count}]}}\" \"${{COMP_WORDS[{}]}}\"\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            count - 1
        );
        let Ok(output) = Command::new("bash").args(["-c", &ask]).output() else {
            return;
        };
        let completed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(completed.trim(), expected, "{words}: {output:?}");
    }
}

#[test]
fn manual_has_every_flag_variable_and_example() {
    let (page, help) = (printed(&["man"]).replace("\\-", "-"), printed(&["--help"]));
    let missing: Vec<_> = flags(&help).difference(&flags(&page)).cloned().collect();
    assert!(missing.is_empty() && flags(&help).len() > 20, "{missing:?}");
    for expected in ["PUBSUB_MAX_QUEUE_SIZE", "Exit codes:", "threadcast-bench"] {
        assert!(page.contains(expected), "{expected}");
    }
    assert!(!page.contains("s3cret"));
    accepted_by("groff", &["-man", "-ww", "-Tutf8"], &page);
    accepted_by("mandoc", &["-W", "error"], &page);
}

#[test]
fn man_dir_has_a_page_for_each_command() {
    let dir = env::temp_dir().join(format!("threadcast-man-{}", process::id()));
    fs::create_dir(&dir).expect("a directory");
    let path = dir.to_str().expect("a path");
    assert_eq!(printed(&["man", "--dir", path]), "");
    for command in COMMANDS {
        let page = fs::read_to_string(dir.join(format!("threadcast-{command}.1")));
        let page = page.expect(command).replace("\\-", "-");
        let help = printed(&[command, "--help"]);
        let missing: Vec<_> = flags(&help).difference(&flags(&page)).cloned().collect();
        assert!(missing.is_empty(), "{command}: {missing:?}");
        assert!(page.contains("Exit codes:"), "{command}");
        accepted_by("groff", &["-man", "-ww", "-Tutf8"], &page);
    }
    assert!(dir.join("threadcast.1").is_file());
    assert!(dir.join("threadcast-key-new.1").is_file());
    fs::remove_dir_all(&dir).expect("it was there");
    let end = run(&mut threadcast(&["man", "--dir", path]));
    assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
}

#[test]
fn every_manual_page_has_examples_and_exit_codes() {
    for command in COMMANDS {
        let help = printed(&[command, "--help"]);
        for expected in ["Examples:", "Exit codes:"] {
            assert!(help.contains(expected), "{command}: {help}");
        }
        assert!(!help.contains("s3cret"), "{command}");
    }
}

#[test]
fn unknown_shell_is_a_usage_error_and_closed_stdout_is_success() {
    let end = run(&mut threadcast(&["completions", "cmd"]));
    assert_eq!((end.code, end.err.len()), (Some(2), 1), "{end:?}");
    for arguments in [&["completions", "bash"][..], &["man"]] {
        let closed = Stdio::from(pipe().expect("a pipe").1);
        let end = run(threadcast(arguments).stdout(closed));
        assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    }
}

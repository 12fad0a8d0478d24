//! The documents list the settings and defaults of `--help`, their links have targets, and their snippets are the files that
//! `tests/clients/run` executes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::program::{run, threadcast};

/// Documents and files that may name settings.
const PLACES: [&str; 5] = ["README.md", "Dockerfile", "docs", "deploy", "examples"];

type Defaults = BTreeMap<String, String>;

/// With this variable set, the tables are written and not compared.
const UPDATE: &str = "UPDATE_DOCS";

#[test]
fn configuration_document_has_the_tables_of_the_help() {
    let path = root("docs/configuration.md");
    let (text, mut tables) = (read(&path), tables_of_help());
    let mut parts = text.split("<!-- settings: ");
    let mut expected = parts.next().expect("a beginning").to_owned();
    for part in parts {
        let (group, rest) = part.split_once(" -->\n").expect("the name of a group");
        let (_, rest) = rest.split_once("<!-- end -->").expect("the end of a table");
        let table = tables.remove(group);
        let table =
            table.unwrap_or_else(|| panic!("{group}: not in the help, or twice in the document"));
        expected += &format!("<!-- settings: {group} -->\n{table}<!-- end -->{rest}");
    }
    assert!(tables.is_empty(), "not in the document: {tables:?}");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &expected).expect("the document can be written");
    }
    assert!(
        read(&path) == expected,
        "docs/configuration.md differs from --help; to update it: {UPDATE}=1 cargo test --test suite configuration_document"
    );
    assert_eq!(
        defaults_of_tables("docs/configuration.md"),
        defaults_of_help()
    );
}

#[test]
fn readme_table_has_the_right_defaults() {
    let defaults = defaults_of_help();
    let documented = defaults_of_tables("README.md");
    assert!(
        documented.len() > 10,
        "no table of settings: {documented:?}"
    );
    for (name, default) in documented {
        assert_eq!(Some(&default), defaults.get(&name), "{name} in README.md");
    }
}

#[test]
fn documents_name_only_existing_settings() {
    let mut settings: BTreeSet<String> = defaults_of_help().into_keys().collect();
    let help_of_clients = run(&mut threadcast(&["pub", "--help"])).out.join("\n");
    settings.extend(settings_named_in(&help_of_clients));
    let files: Vec<PathBuf> = PLACES
        .iter()
        .flat_map(|place| files(&root(place)))
        .collect();
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        for name in settings_named_in(&read(&file)) {
            assert!(settings.contains(&name), "{name} in {}", file.display());
        }
    }
}

#[test]
fn snippets_in_documents_are_the_tested_files() {
    let mut shown = BTreeSet::new();
    for document in ["README.md", "docs/quick-start.md", "docs/tokens.md"] {
        let text = read(&root(document));
        for language in ["```python\n", "```js\n", "```sh\n"] {
            for (at, _) in text.match_indices(language) {
                let (_, comment) = text[..at]
                    .trim_end()
                    .rsplit_once('\n')
                    .expect("a line before");
                let file = between(comment, "<!-- same as ", " -->")
                    .unwrap_or_else(|| panic!("{document}: no file named for: {}", &text[at..]));
                let snippet = between(&text[at..], language, "```").expect("an end");
                assert_eq!(snippet, read(&root(file)), "{file} in {document}");
                shown.insert(file.to_owned());
            }
        }
    }
    let tested = read(&root("tests/clients/check.py"));
    assert_eq!(shown.len(), tested.matches("snippet(\"").count());
    for file in shown {
        let name = file.trim_start_matches("examples/");
        assert!(
            tested.contains(&format!("snippet(\"{name}\"")),
            "{file} is not tested"
        );
    }
}

#[test]
fn links_between_documents_have_targets() {
    let mut documents = vec![root("README.md"), root("ARCHITECTURE.md")];
    documents.extend(
        files(&root("docs"))
            .into_iter()
            .filter(|file| is_markdown(file)),
    );
    let mut followed = 0;
    for document in documents {
        let text = read(&document);
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.with_file_name(path),
            };
            let place = format!("{link} in {}", document.display());
            assert!(target.exists(), "{place}: no such file");
            let has_heading =
                heading.is_empty() || anchors(&read(&target)).any(|anchor| anchor == heading);
            assert!(has_heading, "{place}: no such heading");
            followed += 1;
        }
    }
    assert!(followed > 50, "only {followed} links");
}

fn is_markdown(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "md")
}

/// The anchors of the headings: lower case, hyphens for spaces, no punctuation.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// The table of each group of settings in the help. An option begins with a line of its own, `      --port <PORT>`; the
/// heading of the next group ends the last option of a group.
fn tables_of_help() -> BTreeMap<String, String> {
    let help = run(&mut threadcast(&["--help"])).out.join("\n");
    let mut tables = BTreeMap::new();
    let mut group = "";
    for option in help.split("\n      --") {
        if let Some(name) = between(option, "[env: ", "]") {
            let default = between(option, "[default: ", "]").expect("a default");
            let allowed = between(option, "[allowed: ", "]").expect("what is allowed");
            // The document says once what units there are.
            let allowed = allowed
                .trim_end_matches(", as a whole number or with KiB, MiB or GiB")
                .trim_end_matches(", decimals allowed");
            let meaning = option.lines().nth(1).expect("a line of help").trim();
            let meaning = meaning.split(" [default: ").next().unwrap_or_default();
            let head = "| variable | default | allowed | meaning |\n|---|---|---|---|\n";
            let table = tables.entry(group.to_owned());
            *table.or_insert_with(|| head.to_owned()) +=
                &format!("| `{name}` | `{default}` | {allowed} | {meaning} |\n");
        }
        let headings = option.lines().filter(|line| !line.starts_with(' '));
        group = headings
            .filter_map(|line| line.strip_suffix(':'))
            .next_back()
            .unwrap_or(group);
    }
    tables
}

/// Name and default of each setting, from lines such as `[env: PUBSUB_PORT]` and `[default: 8080]`.
fn defaults_of_help() -> Defaults {
    let help = run(&mut threadcast(&["--help"])).out.join("\n");
    let mut defaults = Defaults::new();
    // Each option starts on a line of its own, `      --port <PORT>`.
    for option in help.split("\n      --").skip(1) {
        let Some(name) = between(option, "[env: ", "]") else {
            continue;
        };
        let default = between(option, "[default: ", "]").expect("a setting with a default");
        let named_once = defaults.insert(name.to_owned(), default.to_owned());
        assert_eq!(named_once, None, "{name} has two flags");
    }
    assert!(!defaults.is_empty(), "no settings in the help:\n{help}");
    defaults
}

/// Name and default of each setting, from the rows `| settings | defaults | … |` of a document; a row may have several.
fn defaults_of_tables(document: &str) -> Defaults {
    let text = read(&root(document));
    let mut defaults = Defaults::new();
    for row in text.lines().filter(|line| line.starts_with("| `PUBSUB_")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let names: Vec<String> = cells[1].split(", ").map(plain).collect();
        let values: Vec<String> = cells[2].split(", ").map(plain).collect();
        assert!(values.len() == names.len() || values.len() == 1, "{row}");
        for (name, value) in names.into_iter().zip(values.iter().cycle()) {
            let named_once = defaults.insert(name, value.clone());
            assert_eq!(named_once, None, "twice in {document}: {row}");
        }
    }
    defaults
}

/// `8 MiB` or a code span in the notation of the help.
fn plain(cell: &str) -> String {
    let text = cell.trim_matches('`');
    match text.split_once(' ') {
        Some((number, unit @ ("KiB" | "MiB" | "GiB"))) => format!("{number}{unit}"),
        _ => text.to_owned(),
    }
}

/// Whole names only: `PUBSUB_*` stands for all of them.
fn settings_named_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.match_indices("PUBSUB_")
        .map(|(at, _)| text[at..].split(|c| !is_part(c)).next().unwrap_or_default())
        .filter(|name| !name.ends_with('_'))
        .map(str::to_owned)
        .collect()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(inner, _)| inner)
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file, or every file below a directory. Files that are missing or not text are skipped.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let below = entries.flat_map(|entry| files(&entry.path()));
    below
        .filter(|file| fs::read_to_string(file).is_ok())
        .collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

//! The house rules of STYLE.md that no lint knows, as ordinary tests over the repository's files.
//!
//! Each rule is a function from files to faults, has a test over the repository, and a self-test
//! that shows it can fail. What clippy or cargo-deny can hold is deliberately not repeated here.

use std::path::Path;
use std::process::Command;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

/// Written in two halves, so that this file does not break its own rule.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

const TEXT: [&str; 10] = [
    "rs", "md", "toml", "sql", "py", "sh", "yaml", "yml", "proto", "json",
];

const DOCUMENTS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "STYLE.md"];

/// Crate, and what its `[dependencies]` may not begin with.
const FORBIDDEN_DEPENDENCIES: [(&str, &[&str]); 4] = [
    ("proto", &["meridian-", "tokio", "axum", "hyper"]),
    ("runtime", &["meridian-", "opentelemetry", "arrow"]),
    (
        "agent",
        &["meridian-aggregator", "datafusion", "deltalake", "parquet"],
    ),
    ("aggregator", &["meridian-agent", "kube", "aws-sdk-"]),
];

/// Directories whose children are siblings.
const SIBLINGS: [&str; 2] = ["agent/src/receivers", "agent/src/exporters"];

/// The outermost parts of a crate: only `app.rs` (and `config.rs`, which reads their settings)
/// names more than one of them.
const PARTS: [(&str, &[&str]); 2] = [
    ("agent", &["receivers", "exporters"]),
    ("aggregator", &["ingest", "api"]),
];

type Faults = Vec<String>;

struct Repo {
    files: Vec<(String, String)>,
}

impl Repo {
    /// Every text file that is tracked, or would be if it were added.
    fn here() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let listed = Command::new("git")
            .arg("-C")
            .arg(&root)
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .output()
            .expect("git lists the files of the checkout");
        let names = String::from_utf8(listed.stdout).expect("names of files are UTF-8");
        let read = |name: &str| Some((name.to_owned(), std::fs::read_to_string(root.join(name)).ok()?));
        let files: Vec<_> = names
            .split('\0')
            .filter(|name| !name.is_empty())
            .filter_map(read)
            .collect();
        assert!(files.len() > 20, "only {} files were found", files.len());
        Self { files }
    }

    fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect(),
        }
    }

    fn ending(&self, end: &str) -> impl Iterator<Item = (&str, &str)> {
        let files = self.files.iter().filter(move |(name, _)| name.ends_with(end));
        files.map(|(name, text)| (name.as_str(), text.as_str()))
    }

    fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ending(".rs")
    }

    fn manifests(&self) -> impl Iterator<Item = (&str, &str)> {
        // `fuzz` is a workspace of its own: nothing of it is built here or released.
        self.ending("/Cargo.toml")
            .filter(|(name, _)| !name.starts_with("fuzz/"))
    }
}

// ---- the rules ----

fn every_file_says_what_it_is_responsible_for(repo: &Repo) -> Faults {
    let silent = repo.rust().filter(|(_, text)| !text.starts_with("//! "));
    silent
        .map(|(name, _)| format!("{name}: does not open with //!"))
        .collect()
}

fn functions_are_short(repo: &Repo) -> Faults {
    let mut faults = Vec::new();
    for (name, text) in repo.rust() {
        let long = functions(&code_of(text))
            .into_iter()
            .filter(|(_, lines)| *lines > FUNCTION_LINES_MAX);
        faults.extend(long.map(|(at, lines)| format!("{name}:{at}: a function of {lines} lines")));
    }
    faults
}

fn files_are_short(repo: &Repo) -> Faults {
    let counted = repo.rust().map(|(name, text)| (name, production_lines(text)));
    let long = counted.filter(|(_, lines)| *lines > FILE_LINES_MAX);
    long.map(|(name, lines)| format!("{name}: {lines} lines without its tests"))
        .collect()
}

fn no_module_is_named_mod(repo: &Repo) -> Faults {
    repo.ending("mod.rs")
        .filter(|(name, _)| name.ends_with("/mod.rs"))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn nothing_is_left_unfinished(repo: &Repo) -> Faults {
    let mut faults = Vec::new();
    for (name, text) in &repo.files {
        if !TEXT
            .iter()
            .any(|end| name.rsplit_once('.').is_some_and(|(_, found)| found == *end))
        {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            if words(line).any(|word| UNFINISHED.contains(&word)) {
                faults.push(format!("{name}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    faults
}

fn versions_are_in_the_workspace(repo: &Repo) -> Faults {
    let mut faults = Vec::new();
    for (name, text) in repo.manifests() {
        for (section, line) in manifest_lines(text).filter(|(section, _)| section.ends_with("dependencies")) {
            let inherits = line.contains(".workspace = true") || line.contains("workspace = true,");
            if !inherits && !line.contains("{ workspace = true }") {
                faults.push(format!("{name}: [{section}] {line}"));
            }
        }
    }
    faults
}

fn every_crate_takes_the_workspace_lints(repo: &Repo) -> Faults {
    let takes =
        |text| manifest_lines(text).any(|(section, line)| (section, line) == ("lints", "workspace = true"));
    let strays = repo.manifests().filter(|(_, text)| !takes(text));
    strays
        .map(|(name, _)| format!("{name}: lacks [lints] workspace = true"))
        .collect()
}

fn crates_depend_only_on_what_they_may(repo: &Repo) -> Faults {
    let mut faults = Vec::new();
    for (krate, forbidden) in FORBIDDEN_DEPENDENCIES {
        let manifest = format!("{krate}/Cargo.toml");
        for (name, text) in repo.manifests().filter(|(name, _)| *name == manifest) {
            let dependencies = manifest_lines(text).filter(|(section, _)| *section == "dependencies");
            let bad =
                dependencies.filter(|(_, line)| forbidden.iter().any(|prefix| line.starts_with(prefix)));
            faults.extend(bad.map(|(_, line)| format!("{name}: {line}")));
        }
    }
    faults
}

fn siblings_do_not_import_each_other(repo: &Repo) -> Faults {
    let mut faults = Vec::new();
    for directory in SIBLINGS {
        let members: Vec<_> = repo
            .rust()
            .filter_map(|(name, text)| {
                Some((
                    name,
                    text,
                    sibling_of(name.strip_prefix(directory)?.strip_prefix('/')?),
                ))
            })
            .collect();
        let parent = directory.rsplit('/').next().unwrap_or(directory);
        for (name, text, own) in &members {
            let code = code_of(text);
            let names_it = |other: &&str| {
                code.contains(&format!("{parent}::{other}")) || code.contains(&format!("super::{other}::"))
            };
            let mut others: Vec<&str> = members
                .iter()
                .map(|(_, _, other)| *other)
                .filter(|other| other != own)
                .collect();
            others.sort_unstable();
            others.dedup();
            faults.extend(
                others
                    .iter()
                    .filter(|other| names_it(other))
                    .map(|other| format!("{name}: names {parent}::{other}")),
            );
        }
    }
    faults
}

fn only_the_app_names_all_parts(repo: &Repo) -> Faults {
    let mut faults = Vec::new();
    for (krate, parts) in PARTS {
        let source = format!("{krate}/src/");
        for (name, text) in repo.rust() {
            let Some(inside) = name.strip_prefix(&source) else {
                continue;
            };
            if ["app.rs", "lib.rs", "main.rs", "config.rs"].contains(&inside) || inside.starts_with("app/") {
                continue;
            }
            let code = code_of(production(text));
            let own = sibling_of(inside);
            let named = parts
                .iter()
                .filter(|part| **part == own || code.contains(&format!("crate::{part}")));
            if named.count() > 1 {
                faults.push(format!("{name}: names more than one of {}", parts.join(", ")));
            }
        }
    }
    faults
}

fn named_queries_are_described_and_registered(repo: &Repo) -> Faults {
    let aggregator: Vec<_> = repo
        .rust()
        .filter(|(name, _)| name.starts_with("aggregator/src/"))
        .collect();
    let mut faults = Vec::new();
    let has_registry = aggregator
        .iter()
        .any(|(_, text)| text.contains("queries/") && text.contains("include_str!"));
    for (name, text) in repo
        .ending(".sql")
        .filter(|(name, _)| name.starts_with("queries/"))
    {
        let stem = name.trim_start_matches("queries/").trim_end_matches(".sql");
        for key in [
            format!("-- name: {stem}"),
            "-- purpose: ".to_owned(),
            "-- used by: ".to_owned(),
        ] {
            if !text
                .lines()
                .take_while(|line| line.starts_with("--"))
                .any(|line| line.starts_with(&key))
            {
                faults.push(format!("{name}: its header lacks `{key}`"));
            }
        }
        let registered = |text: &str| text.contains(name) || text.contains(&format!("\"{stem}\""));
        if has_registry && !aggregator.iter().any(|(_, text)| registered(text)) {
            faults.push(format!("{name}: is not in the aggregator's registry"));
        }
    }
    faults
}

fn the_documents_exist(repo: &Repo) -> Faults {
    let is_there = |wanted: &str| {
        repo.files
            .iter()
            .any(|(name, text)| name == wanted && !text.trim().is_empty())
    };
    DOCUMENTS
        .iter()
        .filter(|wanted| !is_there(wanted))
        .map(|wanted| format!("{wanted} is missing"))
        .collect()
}

// ---- reading Rust and manifests, just well enough ----

/// The lines before the file's tests.
fn production(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

fn production_lines(text: &str) -> usize {
    production(text).lines().count()
}

fn sibling_of(inside: &str) -> &str {
    let first = inside.split('/').next().unwrap_or(inside);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

/// The lines of a manifest with the section that each is in.
fn manifest_lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut section = "";
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(
            move |line| match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                Some(name) => {
                    section = name;
                    None
                }
                None => Some((section, line)),
            },
        )
}

/// The text with comments, strings and character literals blanked out, line breaks kept.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = literal_or_comment(rest, code.ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        let (token, after) = rest
            .split_at_checked(skipped.max(next.len_utf8()))
            .unwrap_or((rest, ""));
        if skipped == 0 {
            code.push_str(token);
        } else {
            code.extend(token.chars().filter(|c| *c == '\n'));
        }
        rest = after;
    }
    code
}

/// The length of the comment or literal that the text begins with, 0 if there is none.
fn literal_or_comment(text: &str, after_word: bool) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return text.find("*/").map_or(text.len(), |end| end + 2);
    }
    if text.starts_with('"') {
        return quoted(text, '"');
    }
    if text.starts_with("'\\") || text.chars().nth(2) == Some('\'') && text.starts_with('\'') {
        return quoted(text, '\'');
    }
    let raw = text
        .strip_prefix('r')
        .filter(|_| !after_word)
        .or_else(|| text.strip_prefix("br"));
    let hashes = raw.map_or(0, |raw| raw.bytes().take_while(|byte| *byte == b'#').count());
    let opened = raw
        .and_then(|raw| raw.get(hashes..))
        .filter(|rest| rest.starts_with('"'));
    opened.map_or(0, |opened| {
        let start = text.len() - opened.len() + 1;
        let end = format!("\"{}", "#".repeat(hashes));
        text.get(start..)
            .and_then(|inside| inside.find(&end))
            .map_or(text.len(), |at| start + at + end.len())
    })
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Line and length (without blank lines and comments) of every function in blanked-out code.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let (before, from) = code.split_at_checked(at).unwrap_or((code, ""));
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let body = body(from);
        let lines = body.lines().filter(|line| !line.trim().is_empty()).count();
        if lines > 0 {
            found.push((before.lines().count().max(1), lines));
        }
    }
    found
}

/// From `fn` to the brace that closes it; empty for a declaration or a function pointer.
fn body(from: &str) -> &str {
    let (mut braces, mut brackets) = (0_i32, 0_i32);
    for (at, c) in from.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' => braces += 1,
            '}' => braces -= 1,
            _ => {}
        }
        let is_over = brackets < 0 || braces < 0 || c == ';' && braces == 0 && brackets == 0;
        if is_over {
            return "";
        }
        if c == '}' && braces == 0 {
            return from.get(..=at).unwrap_or(from);
        }
    }
    ""
}

// ---- each rule holds, and can fail ----

macro_rules! rules {
    ($($rule:ident: $broken:expr;)*) => {
        mod the_repository {
            $(#[test] fn $rule() {
                let faults = super::$rule(&super::Repo::here());
                assert!(faults.is_empty(), "\n{}", faults.join("\n"));
            })*
        }
        mod self_test {
            $(#[test] fn $rule() {
                let broken: &[(&str, &str)] = $broken;
                assert_eq!(super::$rule(&super::Repo::of(broken)).len(), 1, "the rule does not see its breach");
            })*
        }
    };
}

rules! {
    every_file_says_what_it_is_responsible_for: &[("a.rs", "//! Says it.\n"), ("b.rs", "use std::fs;\n")];
    functions_are_short: &[("a.rs", &super::long_function(70)), ("b.rs", &super::long_function(71))];
    files_are_short: &[("a.rs", &super::long_file(500)), ("b.rs", &super::long_file(501))];
    no_module_is_named_mod: &[("a/mod.rs", ""), ("a/mod_.rs", ""), ("a/tidy_mod.rs", "")];
    nothing_is_left_unfinished: &[("a.md", &format!("all done\n{}: more\n", super::UNFINISHED[0])), ("b.sh", "mktemp XXXXXX")];
    versions_are_in_the_workspace: &[("a/Cargo.toml", "[package]\nversion = \"1\"\n[dependencies]\nx.workspace = true\ny = \"1\"\nz = { workspace = true, features = [] }\n")];
    every_crate_takes_the_workspace_lints: &[("a/Cargo.toml", "[lints]\nworkspace = true\n"), ("b/Cargo.toml", "[package]\n")];
    crates_depend_only_on_what_they_may: &[("agent/Cargo.toml", "[dependencies]\ndatafusion.workspace = true\n[dev-dependencies]\nparquet.workspace = true\n")];
    siblings_do_not_import_each_other: &[
        ("agent/src/exporters/otlp.rs", "use crate::exporters::aggregator::Batch;\n"),
        ("agent/src/exporters/aggregator/batch.rs", "// crate::exporters::otlp\nuse super::connection;\n"),
    ];
    only_the_app_names_all_parts: &[
        ("agent/src/app.rs", "use crate::{receivers, exporters};\nuse crate::receivers::A;\nuse crate::exporters::B;\n"),
        ("agent/src/intake.rs", "use crate::receivers::A;\nuse crate::exporters::B;\n"),
    ];
    named_queries_are_described_and_registered: &[
        ("queries/a.sql", "-- name: a\n-- purpose: p\n-- used by: u\nSELECT 1"),
        ("queries/b.sql", "-- name: b\n-- purpose: p\n-- used by: u\nSELECT 1"),
        ("aggregator/src/query/named.rs", "include_str!(\"../../queries/a.sql\")"),
    ];
    the_documents_exist: &[("README.md", "x"), ("ARCHITECTURE.md", "x"), ("STYLE.md", "x"), ("CHANGELOG.md", " \n")];
}

fn long_function(lines: usize) -> String {
    format!(
        "fn long() {{\n{}}}\n",
        "    let s = \"}\"; // }\n".repeat(lines - 2)
    )
}

fn long_file(lines: usize) -> String {
    format!(
        "{}\n#[cfg(test)]\nmod tests {{}}\n{}",
        "use a;\n".repeat(lines - 1) + "use b;",
        "\n".repeat(900)
    )
}

#[test]
fn literals_and_comments_are_no_code() {
    let text =
        "let a = \"{ \\\" {\"; let b = '{'; let c = r#\"{\"{\"#; /* { */ fn f<'a>(x: &'a str) {} // {\n";
    assert_eq!(code_of(text).matches('{').count(), 1, "{}", code_of(text));
}

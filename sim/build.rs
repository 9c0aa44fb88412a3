//! Tells the binary what it was built from: compiler always, commit in release builds.
//!
//! A development build is rebuilt all the time and from changed files, so it names no commit: a
//! commit that is almost right would be worse than none.

use std::path::Path;
use std::process::Command;

#[allow(clippy::disallowed_methods, reason = "cargo tells a build script by variables")]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let rustc = output(&rustc, &["--version"]).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=BACKDATE_RUSTC={rustc}");
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = if is_release { commit() } else { "development".into() };
    println!("cargo:rustc-env=BACKDATE_COMMIT={commit}");
}

fn commit() -> String {
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = output("git", &["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    output("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

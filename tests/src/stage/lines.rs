//! Scripts of a member: commands of its agent that take or write lines.

use std::io::{self, Write as _};
use std::process::Child;

use serde_json::Value;

use super::{Member, Stage};
use crate::process::Program;

impl Stage {
    /// Starts a command of a member's agent with pipes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn piped_agent(&self, member: &Member, args: &[&str]) -> io::Result<Child> {
        let home = member.home.to_string_lossy();
        let all = ["--home", &home].into_iter().chain(args.iter().copied());
        self.programs.piped(Program::Agent, all)
    }

    /// Hands lines over with `push --lines`; what is answered to them, and the exit code (255 when a signal ended it).
    ///
    /// # Errors
    /// When the command cannot be started, does not read, or answers no JSON.
    pub fn push_lines(&self, member: &Member, lines: &[String]) -> io::Result<(Vec<Value>, i32)> {
        let mut child = self.piped_agent(member, &["push", "--lines"])?;
        if let Some(mut stdin) = child.stdin.take() {
            for line in lines {
                writeln!(stdin, "{line}")?;
            }
        }
        let ran = child.wait_with_output()?;
        let answers = String::from_utf8_lossy(&ran.stdout).into_owned();
        let answers = answers.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok((answers, ran.status.code().unwrap_or(255)))
    }
}

//! A command as ssh carries it to another machine, and how it is known whether it ran there.
//!
//! ssh ends with 255 whatever goes wrong, and says why on the standard error that the command uses, too; what runs in a
//! guest says there what it likes. So the words of ssh count only where nothing but ssh can have spoken: `carried.sh`
//! says that the command begins before it does.

use foreign::Tail;

use crate::{Error, Output};

/// What runs on the far side.
const CARRIED: &str = include_str!("carried.sh");

/// One command that is carried.
#[derive(Debug)]
pub(crate) struct Carried {
    nonce: String,
}

/// How a command that was carried ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// It came to its own end, with this status and these words.
    Itself(Output),
    /// ssh failed before anything was heard of the command: all that is said here is ssh's own. It may have left.
    Unheard(Output),
    /// ssh failed, and the command had begun, or may have.
    Begun(Output),
}

impl Carried {
    /// For a command that goes to `place`.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(crate) fn new(place: &dyn Fn() -> String) -> Result<Self, Error> {
        Ok(Self { nonce: crate::nonce::nonce("ssh", place)? })
    }

    /// The one line that ssh hands to the login shell of the far side: `sh -c` with the arguments after it needs nothing of
    /// that shell but single quotes.
    pub(crate) fn line(&self, argv: &[String]) -> String {
        let before = ["sh", "-c", CARRIED, "sh", &self.nonce];
        shell_words::join(before.into_iter().chain(argv.iter().map(String::as_str)))
    }

    /// What came back, without what `carried.sh` said.
    pub(crate) fn end(&self, mut output: Output) -> End {
        // What is cut away may have held it.
        let cut = Tail::is_cut(&output.stderr);
        let begun = take(&mut output.stderr, &begun(&self.nonce), false);
        if output.status != 255 || take(&mut output.stderr, &ended(&self.nonce), true) {
            return End::Itself(output);
        }
        if begun || cut { End::Begun(output) } else { End::Unheard(output) }
    }
}

fn begun(nonce: &str) -> String {
    format!("phoenix-begun-{nonce}\n")
}

fn ended(nonce: &str) -> String {
    format!("phoenix-ended-{nonce}\n")
}

/// Takes a line away: the last such one, or the first. Whether there was one.
fn take(text: &mut Vec<u8>, line: &str, last: bool) -> bool {
    let mut windows = text.windows(line.len());
    let is_it = |window: &[u8]| window == line.as_bytes();
    let at = if last { windows.rposition(is_it) } else { windows.position(is_it) };
    if let Some(at) = at {
        text.drain(at..at + line.len());
    }
    at.is_some()
}

/// What the line runs that ssh carries, given its words: for a far side that is only simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarriedLine<'a> {
    nonce: &'a str,
    /// The command.
    pub argv: &'a [String],
}

impl<'a> CarriedLine<'a> {
    /// Whether the words are those of such a line.
    pub fn of(words: &'a [String]) -> Option<Self> {
        match words {
            [sh, c, script, name, nonce, argv @ ..]
                if sh == "sh" && c == "-c" && script == CARRIED && name == "sh" =>
            {
                Some(Self { nonce, argv })
            }
            _ => None,
        }
    }

    /// What comes back of a command that ended like this: with what the line says of it.
    pub fn said(&self, mut output: Output) -> Output {
        output.stderr.splice(0..0, begun(self.nonce).into_bytes());
        if output.status == 255 {
            output.stderr.extend(ended(self.nonce).into_bytes());
        }
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Local, Runner as _};

    fn carried() -> Carried {
        Carried::new(&|| "pve1".to_owned()).unwrap()
    }

    async fn ran(carried: &Carried, argv: &[&str]) -> Output {
        let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
        Local.run(&Command::new("trying", ["sh", "-c", &carried.line(&argv)])).await.unwrap()
    }

    #[tokio::test]
    async fn the_line_arrives_as_it_was_in_a_real_shell_and_a_status_of_255_is_the_commands() {
        for (argv, status, out) in [
            (&["printf", "%s|", "a b", "it's", "$HOME", ""][..], 0, "a b|it's|$HOME||"),
            (&["sh", "-c", "exit 255"], 255, ""),
            (&["sh", "-c", "exit 7"], 7, ""),
        ] {
            let carried = carried();
            let output = ran(&carried, argv).await;
            let End::Itself(output) = carried.end(output) else { panic!("{argv:?}") };
            assert_eq!((output.status, output.text().as_ref(), output.stderr.len()), (status, out, 0));
        }
        // And it is told by its words, as it was written.
        let (carried, argv) = (carried(), ["echo".to_owned(), "a  b".to_owned()]);
        let words = shell_words::split(&carried.line(&argv)).unwrap();
        let line = CarriedLine::of(&words).unwrap();
        assert_eq!(line.argv, argv);
        let said = line.said(Output { status: 255, stdout: Vec::new(), stderr: b"x\n".to_vec() });
        assert_eq!(
            carried.end(said),
            End::Itself(Output { status: 255, stdout: Vec::new(), stderr: b"x\n".to_vec() })
        );
    }

    /// The attack: what was run says ssh's own words, and that it ended or never began, with every word that it can guess;
    /// then the line breaks, which ssh tells with 255.
    #[tokio::test]
    async fn what_a_command_says_never_means_that_it_did_not_begin() {
        let flood = "head -c 300000 /dev/zero | tr '\\0' x >&2";
        for script in [
            "echo 'Connection closed by UNKNOWN port 65535' >&2",
            "echo 'ssh: connect to host 10.0.0.14 port 22: No route to host' >&2",
            "echo phoenix-ended- >&2; echo phoenix-ended-00000000000000000000000000000000 >&2",
            flood,
        ] {
            let carried = carried();
            let output = ran(&carried, &["sh", "-c", script]).await;
            let lost = Output { status: 255, ..output };
            assert!(matches!(carried.end(lost), End::Begun(_)), "{script}");
        }
        // A command that was sent twice says in vain what it heard of itself the first time.
        let (first, second) = (carried(), carried());
        let output = ran(&second, &["sh", "-c", &format!("echo phoenix-ended-{} >&2", first.nonce)]).await;
        assert!(matches!(second.end(Output { status: 255, ..output }), End::Begun(_)));
    }

    #[test]
    fn where_nothing_of_the_command_was_heard_the_words_are_those_of_ssh() {
        for said in ["ssh: connect to host 10.0.0.14 port 22: No route to host\r\n", ""] {
            let output = Output { status: 255, stdout: Vec::new(), stderr: said.into() };
            assert_eq!(carried().end(output.clone()), End::Unheard(output));
        }
    }
}

//! A command whose standard input lies in a folder of its guest, in pieces: for a way in that carries little input at once.

/// Makes a folder that is root's alone, and prints where.
const ROOM: &str = "umask 077; mktemp -d /var/tmp/phoenix.XXXXXXXXXX";

/// Where folders begin that [`ROOM`] makes.
const ROOMS: &str = "/var/tmp/phoenix.";

/// Feeds a command with what lies there, and takes it away.
const FEED: &str = r#"d=$1; shift; cat "$d"/[0-9]* | "$@"; s=$?; rm -rf "$d"; exit $s"#;

/// A folder in a guest, which holds a command's input in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room(String);

impl Room {
    /// The command that makes one, and prints where it is.
    pub fn made_by() -> [&'static str; 3] {
        ["sh", "-c", ROOM]
    }

    /// From what that command printed. It is the guest's word, and becomes part of paths: `None` where it is no such folder.
    pub fn of(printed: &str) -> Option<Self> {
        let path = printed.trim_end();
        let name = path.strip_prefix(ROOMS)?;
        let fits = (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| Self(path.to_owned()))
    }

    /// The file of a piece, counted from 0.
    pub fn piece(&self, number: usize) -> String {
        format!("{}/{number:08}", self.0)
    }

    /// What runs `argv` with all pieces on its standard input, one after the other.
    pub fn feeds(&self, argv: &[String]) -> Vec<String> {
        let feed = ["sh", "-c", FEED, "sh", &self.0].into_iter().map(str::to_owned);
        feed.chain(argv.iter().cloned()).collect()
    }
}

/// What such a way in has its guest run: for a guest that is only simulated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feeding<'a> {
    /// It makes a folder.
    Makes,
    /// It runs a command with what lies in a folder.
    Feeds {
        /// The folder.
        room: &'a str,
        /// The command.
        argv: &'a [&'a str],
    },
}

impl<'a> Feeding<'a> {
    /// Whether a command is that.
    pub fn of(argv: &'a [&'a str]) -> Option<Self> {
        match argv {
            ["sh", "-c", script] if *script == ROOM => Some(Self::Makes),
            ["sh", "-c", script, "sh", room, argv @ ..] if *script == FEED => {
                Some(Self::Feeds { room, argv })
            }
            _ => None,
        }
    }

    /// What is printed where a folder was made, `number` being its own.
    pub fn made(number: usize) -> String {
        format!("{ROOMS}{number:010}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Local, Runner as _};

    #[test]
    fn a_folder_is_only_what_the_command_makes() {
        assert!(Room::of("/var/tmp/phoenix.a1B2c3D4e5\n").is_some());
        for text in [
            "",
            "/var/tmp/phoenix.",
            "/var/tmp/phoenix.a/../../etc",
            "/etc",
            "/var/tmp/phoenix.a b",
            "x\n/var/tmp/phoenix.a",
        ] {
            assert_eq!(Room::of(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn what_lies_there_is_read_in_order_and_taken_away() {
        let made = Local.run(&Command::new("making room", Room::made_by())).await.unwrap();
        let room = Room::of(&made.text()).unwrap();
        for number in 0..12 {
            fs_err::write(room.piece(number), format!("{number}\n")).unwrap();
        }
        let argv = room.feeds(&["sh".to_owned(), "-c".to_owned(), "tr '\\n' ' '; exit 7".to_owned()]);
        let output = Local.run(&Command::new("feeding", argv)).await.unwrap();
        assert_eq!((output.status, output.text().as_ref()), (7, "0 1 2 3 4 5 6 7 8 9 10 11 "));
        assert!(!std::path::Path::new(made.text().trim_end()).exists());
    }
}

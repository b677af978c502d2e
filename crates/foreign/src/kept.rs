//! Readers that keep no more than they may, however much they are given.

/// Keeps the end of what is said, and how much that was.
#[derive(Debug, Clone)]
pub struct Tail {
    kept: Vec<u8>,
    most: usize,
    total: u64,
}

impl Tail {
    /// At most so many bytes.
    pub fn new(most: usize) -> Self {
        Self { kept: Vec::new(), most, total: 0 }
    }

    /// Takes in what was said next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let last = &bytes[bytes.len().saturating_sub(self.most)..];
        self.kept.extend_from_slice(last);
        // Moved only when twice as much is there, so that each byte is moved once.
        if self.kept.len() > 2 * self.most {
            self.kept.drain(..self.kept.len() - self.most);
        }
    }

    /// How much was said in all, in bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How much is kept at this moment, in bytes: never more than three times what it may be.
    pub fn held(&self) -> usize {
        self.kept.len()
    }

    /// The end; what was cut away is said at its beginning.
    pub fn into_bytes(mut self) -> Vec<u8> {
        let surplus = self.kept.len().saturating_sub(self.most);
        self.kept.drain(..surplus);
        let cut = self.total - self.kept.len() as u64;
        if cut > 0 {
            let said = format!("({cut}{LEFT_OUT}");
            self.kept.splice(0..0, said.into_bytes());
        }
        self.kept
    }

    /// Whether something may have been cut away from what [`Tail::into_bytes`] returned. Who spoke there can say that it was,
    /// and never that it was not.
    pub fn is_cut(bytes: &[u8]) -> bool {
        let Some(rest) = bytes.strip_prefix(b"(") else { return false };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits > 0 && rest[digits..].starts_with(LEFT_OUT.as_bytes())
    }
}

/// What follows the number of bytes that were cut away.
const LEFT_OUT: &str = " bytes before this are left out)\n";

/// Tells lines as they come. One that is longer than it may be is told up to there, and that it was cut.
#[derive(Debug, Clone)]
pub struct Lines {
    begun: Vec<u8>,
    most: usize,
    cut: u64,
}

impl Lines {
    /// Lines of at most so many bytes.
    pub fn new(most: usize) -> Self {
        Self { begun: Vec::new(), most, cut: 0 }
    }

    /// Takes in what came next, and tells the lines that are whole now.
    pub fn push(&mut self, mut bytes: &[u8], line: &mut (dyn for<'a> FnMut(&'a str) + Send)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.take(&bytes[..end]);
            self.tell(line);
            bytes = &bytes[end + 1..];
        }
        self.take(bytes);
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = self.most.saturating_sub(self.begun.len()).min(bytes.len());
        self.begun.extend_from_slice(&bytes[..room]);
        self.cut += (bytes.len() - room) as u64;
    }

    fn tell(&mut self, line: &mut (dyn for<'a> FnMut(&'a str) + Send)) {
        let text = String::from_utf8_lossy(&self.begun);
        match self.cut {
            0 => line(&text),
            cut => line(&format!("{text} ({cut} bytes more of this line are left out)")),
        }
        self.begun.clear();
        self.cut = 0;
    }

    /// How much is kept at this moment, in bytes: never more than a line may be.
    pub fn held(&self) -> usize {
        self.begun.len()
    }

    /// Nothing more comes: what stands without a line's end is told.
    pub fn end(mut self, line: &mut (dyn for<'a> FnMut(&'a str) + Send)) {
        if !self.begun.is_empty() || self.cut > 0 {
            self.tell(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_hundred_megabytes_are_kept_as_a_few() {
        let chunk = [b'x'; 64 << 10];
        let (mut tail, mut lines) = (Tail::new(1000), Lines::new(1000));
        let mut told = Vec::new();
        for _ in 0..4800 {
            tail.push(&chunk);
            lines.push(&chunk, &mut |line: &str| told.push(line.len()));
            assert!(tail.held() <= 3000 && lines.held() <= 1000);
        }
        assert_eq!(tail.total(), 300 << 20);
        lines.end(&mut |line: &str| told.push(line.len()));
        assert!(told.len() == 1 && told[0] < 1100, "{told:?}");
        let end = tail.into_bytes();
        assert!(Tail::is_cut(&end));
        for whole in
            ["", "(", "(x", "( bytes before this are left out)\n", "x(1 bytes before this are left out)\n"]
        {
            assert!(!Tail::is_cut(whole.as_bytes()), "{whole}");
        }
        let end = String::from_utf8(end).unwrap();
        assert!(end.starts_with("(314571800 bytes before this are left out)\nxxx"), "{}", &end[..60]);
        assert!(end.len() < 1100);
    }

    proptest! {
        #[test]
        fn what_fits_is_kept_as_it_came(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9)) {
            let all = chunks.concat();
            let mut tail = Tail::new(100);
            chunks.iter().for_each(|chunk| tail.push(chunk));
            prop_assert_eq!(tail.into_bytes(), all);
        }

        #[test]
        fn the_end_is_the_end(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..20)) {
            let all = chunks.concat();
            let mut tail = Tail::new(10);
            chunks.iter().for_each(|chunk| tail.push(chunk));
            prop_assert!(tail.into_bytes().ends_with(&all[all.len().saturating_sub(10)..]));
        }

        #[test]
        fn lines_are_told_whatever_pieces_they_came_in(text in "[a-c\n]{0,40}", at in 0usize..40) {
            let at = at.min(text.len());
            let mut told = Vec::new();
            let mut lines = Lines::new(100);
            lines.push(&text.as_bytes()[..at], &mut |line: &str| told.push(line.to_owned()));
            lines.push(&text.as_bytes()[at..], &mut |line: &str| told.push(line.to_owned()));
            lines.end(&mut |line: &str| told.push(line.to_owned()));
            let expected: Vec<String> = text.split_terminator('\n').map(str::to_owned).collect();
            prop_assert_eq!(told, expected);
        }
    }
}
